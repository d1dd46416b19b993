export { connectSupervisor, startEmbeddedSupervisor } from "./client.ts";
export { type Host, type HostOptions, startHost } from "./host.ts";
export {
  type CertificateRequest,
  createCa,
  createSigningKeys,
  fingerprint,
  issue,
  type KeyedCertificate,
  needsRenewal,
  publicKeyHash,
} from "./pki.ts";
export { supervise } from "./server.ts";
export type { ChildSpec, ChildStatus, ReadyProbe, Supervisor } from "./supervisor.ts";

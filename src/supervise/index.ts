export { connectSupervisor, startEmbeddedSupervisor } from "./client.ts";
export { readIfThere, writeAtomically } from "./files.ts";
export { type Host, type HostOptions, hostPkiDir, renewHostPki, startHost } from "./host.ts";
export { type HostCertificates, watchHostCertificates } from "./host-certificates.ts";
export { type Lock, takeLock } from "./lock.ts";
export {
  type CertificateRequest,
  createCa,
  createSigningKeys,
  crossSign,
  fingerprint,
  issue,
  type KeyedCertificate,
  needsRenewal,
  renewalTime,
} from "./pki.ts";
export { freePort } from "./ports.ts";
export { supervise } from "./server.ts";
export type {
  CellMount,
  CellPlace,
  CellState,
  CellStatus,
  ChildSpec,
  ChildStatus,
  Grant,
  ReadyProbe,
  Slept,
  Supervisor,
  SwapEncryption,
  SwapMedium,
  SwapStatus,
  SwapWanted,
  Woken,
} from "./supervisor.ts";

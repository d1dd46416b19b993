import { randomBytes, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import "reflect-metadata";
import { type JsonGeneralName, Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from "@peculiar/x509";
import { systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import { type CertificateSigningRequest, CSR, connectKube, eventRecorder, type Kube, SECRET } from "../../src/kube/index.ts";
import { type JoinCredential, type TenantController, type TenantOptions, tenantController } from "../../src/tenant/index.ts";
import type { EtcdIdentity } from "./etcd-grpc.ts";
import { eventually } from "./eventually.ts";
import type { HostControlPlane } from "./host-control-plane.ts";

export async function secretOf(host: HostControlPlane, name: string): Promise<Record<string, string>> {
  const secret = await host.kube.get(SECRET, name, "default");
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]));
}

export function bundleOf(host: HostControlPlane, ref: { name: string }): Promise<Record<string, string>> {
  return secretOf(host, `${ref.name}-pki`);
}

export async function kubeconfigText(host: HostControlPlane, ref: { name: string }): Promise<string> {
  return (await secretOf(host, `${ref.name}-kubeconfig`)).value ?? "";
}

export async function kubeOfPeople(host: HostControlPlane, ref: { name: string }): Promise<Kube> {
  return connectKube(await kubeconfigText(host, ref));
}

/** What somebody who took a tenant's etcd certificate would hold. */
export async function etcdIdentity(
  host: HostControlPlane,
  ref: { namespace: string; name: string },
): Promise<{ identity: EtcdIdentity; uid: string }> {
  const bundle = await bundleOf(host, ref);
  const port = readFileSync(join(host.dir, "datastore", "shard-0", "port"), "utf8").trim();
  const identity = {
    endpoint: `https://127.0.0.1:${port}`,
    ca: bundle["etcd-ca.crt"] ?? "",
    cert: bundle["etcd.crt"] ?? "",
    key: bundle["etcd.key"] ?? "",
  };
  return { identity, uid: (await host.kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace))?.metadata.uid ?? "" };
}

export async function anonymousConfig(host: HostControlPlane, server: string, ref: { name: string }): Promise<object> {
  return configOf(server, (await bundleOf(host, ref))["ca.crt"] ?? "", {});
}

export function configOf(server: string, ca: string, user: object, serverName?: string): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "t",
        cluster: {
          server,
          "certificate-authority-data": Buffer.from(ca).toString("base64"),
          ...(serverName ? { "tls-server-name": serverName } : {}),
        },
      },
    ],
    users: [{ name: "u", user }],
    contexts: [{ name: "c", context: { cluster: "t", user: "u" } }],
    "current-context": "c",
  };
}

export function tokenKube({ server, ca, token }: JoinCredential): Kube {
  return connectKube(JSON.stringify(configOf(server, ca, { token })));
}

export async function nodeKube(at: JoinCredential, csr: CertificateSigningRequest, keys: webcrypto.CryptoKeyPair): Promise<Kube> {
  return connectKube(JSON.stringify(await nodeConfig(at, csr, keys)));
}

/** A kubeconfig of who was signed a certificate. */
export async function nodeConfig(
  { server, ca }: Pick<JoinCredential, "server" | "ca">,
  csr: CertificateSigningRequest,
  keys: webcrypto.CryptoKeyPair,
  serverName?: string,
): Promise<object> {
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`;
  const user = { "client-certificate-data": csr.status?.certificate, "client-key-data": Buffer.from(key).toString("base64") };
  return configOf(server, ca, user, serverName);
}

/** Which key has signed a service account's token. */
export function keyOfToken(token: string): string {
  return String((JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid);
}

export async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

export async function pem(keys: webcrypto.CryptoKeyPair, nodeName: string, names: JsonGeneralName[] = []): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ O: ["system:nodes"] }, { CN: [`system:node:${nodeName}`] }],
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
  });
  return `${request.toString("pem")}\n`;
}

/** `other`: signed for whom a tenant's people approve it; the daemon decides of nodes' alone. */
const SIGNERS = {
  client: "kubernetes.io/kube-apiserver-client-kubelet",
  serving: "kubernetes.io/kubelet-serving",
  other: "kubernetes.io/kube-apiserver-client",
} as const;

export async function submit(kube: Kube, name: string, text: string, use: keyof typeof SIGNERS = "client"): Promise<string> {
  await kube.create(CSR, {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { name },
    spec: {
      request: Buffer.from(text).toString("base64"),
      signerName: SIGNERS[use],
      usages: ["digital signature", use === "serving" ? "server auth" : "client auth"],
    },
  });
  return name;
}

/** A node's first certificate, by its token. */
export async function firstCertificate(
  credential: JoinCredential,
  keys: webcrypto.CryptoKeyPair,
  people: Kube,
): Promise<CertificateSigningRequest> {
  const token = tokenKube(credential);
  const name = await submit(token, `first-${credential.nodeName}`, await pem(keys, credential.nodeName));
  await token.close();
  return eventually("it is signed", async () => {
    const csr = await people.get(CSR, name);
    if (!csr?.status?.certificate) throw new Error(JSON.stringify(csr?.status));
    return csr;
  });
}

export function decisionOf(csr: CertificateSigningRequest): string {
  const [last] = csr.status?.conditions ?? [];
  return `${last?.type} ${last?.reason}`;
}

/** A controller of tenants over a test's host control plane. */
export function controllerOf(
  host: Pick<HostControlPlane, "kube" | "supervisor" | "artifacts" | "dir" | "log">,
  ports: { readonly from: number; readonly to: number },
  more: Partial<TenantOptions> = {},
): TenantController {
  const { kube, supervisor, artifacts, dir, log } = host;
  return tenantController({
    kube,
    supervisor,
    kubeBin: artifacts.kube.bin,
    kubeVersion: artifacts.kube.version,
    dataDir: dir,
    listen: { nodes: "127.0.0.1", people: ["127.0.0.1"], ports },
    clock: systemClock,
    random: randomBytes,
    log,
    events: eventRecorder({ kube, component: "ironwright", clock: systemClock, log }),
    ...more,
  });
}

/** Cells for tests that are root; users from `uid` on, and the front door at a port of its own. */
export function cellsOf(
  host: Pick<HostControlPlane, "artifacts">,
  uid: number,
  frontDoor: number,
  swapBytes?: number,
): Pick<TenantOptions, "isolation"> {
  if (process.getuid?.() !== 0) return {};
  return {
    isolation: {
      native: host.artifacts.native,
      uids: { from: uid, to: uid + 100 },
      limits: { cpuMillis: 4000, memoryBytes: 2 ** 32, pids: 1024 },
      ...(swapBytes === undefined ? {} : { swap: { bytes: swapBytes } }),
      frontDoor: { address: "127.0.0.1", port: frontDoor },
      domain: "tenants.ironwright.internal",
    },
  };
}

/** Creates a VirtualCluster in the project `default`. */
export async function createTenant(host: HostControlPlane, name: string, spec: VirtualCluster["spec"] = {}): Promise<void> {
  const metadata = { name, namespace: "default" };
  await host.kube.create(VIRTUAL_CLUSTER, { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata, spec });
}

export function readyTenant(host: HostControlPlane, ref: { readonly namespace: string; readonly name: string }): Promise<VirtualCluster> {
  return eventually(`${ref.name} is Ready`, async () => {
    const cluster = await host.kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace);
    const said = condition(cluster?.status?.conditions, "Ready");
    if (!cluster || said?.status !== "True") throw new Error(said?.message ?? "it says nothing yet");
    return cluster;
  });
}

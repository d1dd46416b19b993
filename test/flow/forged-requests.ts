import { webcrypto } from "node:crypto";
import "reflect-metadata";
import { type JsonGeneralName, Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from "@peculiar/x509";
import type { CertificateSigningRequest } from "../../src/kube/index.ts";

/** A request that must not be approved, and whose client sends it: of machine-1, machine-2, the revoked machine-3, or the administrator. */
export interface Forgery {
  readonly by: "live" | "other" | "revoked" | "people";
  readonly request: CertificateSigningRequest;
}

interface Kind {
  readonly by: Forgery["by"];
  readonly node: (nth: number) => string;
  readonly organizations?: readonly string[];
  readonly commonName?: (nth: number) => string;
  readonly signer?: string;
  readonly usages?: readonly string[];
  readonly names?: (nth: number) => JsonGeneralName[];
  readonly curve?: "P-384";
}

const CLIENT = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING = "kubernetes.io/kubelet-serving";
const one = () => "machine-1";
const serving = { signer: SERVING, usages: ["digital signature", "server auth"] } as const;
const named = (name: string, address: string): JsonGeneralName[] => [
  { type: "dns", value: name },
  { type: "ip", value: address },
];

const KINDS: readonly Kind[] = [
  { by: "live", node: () => "machine-2" },
  { by: "other", node: one },
  { by: "live", node: (nth) => `ghost-${nth}` },
  { by: "people", node: one },
  { by: "people", node: (nth) => `ghost-${nth}` },
  { by: "revoked", node: () => "machine-3" },
  { by: "revoked", node: one },
  { by: "live", node: one, organizations: ["system:masters"] },
  { by: "live", node: one, organizations: ["system:nodes", "system:masters"] },
  { by: "live", node: one, commonName: () => "system:node:machine-1 " },
  { by: "live", node: one, commonName: () => "SYSTEM:NODE:machine-1" },
  { by: "live", node: one, commonName: () => "system:node:machine-1\0" },
  { by: "live", node: one, commonName: () => "kubernetes-admin" },
  { by: "live", node: one, usages: ["digital signature", "client auth", "server auth"] },
  { by: "live", node: one, usages: ["digital signature", "key encipherment", "client auth"] },
  { by: "live", node: one, usages: ["client auth"] },
  { by: "live", node: one, names: (nth) => named(`extra-${nth}`, "10.77.0.1") },
  { by: "live", node: one, names: () => [{ type: "dns", value: "kubernetes.default.svc" }] },
  { by: "live", node: one, curve: "P-384" },
  { by: "live", node: one, ...serving, names: () => named("machine-1", "10.77.0.1") },
  { by: "people", node: one, ...serving, names: () => named("machine-1", "127.0.0.1") },
  { by: "people", node: one, ...serving, names: () => named("machine-1", "10.77.0.1") },
  { by: "people", node: one, signer: "kubernetes.io/kube-apiserver-client", organizations: ["system:masters"] },
  { by: "people", node: one, signer: "kubernetes.io/kube-apiserver-client" },
  { by: "people", node: one, signer: "example.com/node" },
];

/** So many, of each kind about as many. */
export async function forgeries(count: number): Promise<readonly Forgery[]> {
  const made: Promise<Forgery>[] = [];
  for (let nth = 0; nth < count; nth += 1) {
    const kind = KINDS[nth % KINDS.length];
    if (kind) made.push(forge(kind, nth));
  }
  return Promise.all(made);
}

async function forge({ by, node, organizations = ["system:nodes"], ...kind }: Kind, nth: number): Promise<Forgery> {
  const curve = { name: "ECDSA", namedCurve: kind.curve ?? "P-256" };
  const keys = (await webcrypto.subtle.generateKey(curve, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const names = kind.names?.(nth) ?? [];
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ O: [...organizations] }, { CN: [kind.commonName?.(nth) ?? `system:node:${node(nth)}`] }],
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
  });
  return {
    by,
    request: {
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { name: `forged-${nth}` },
      spec: {
        request: Buffer.from(`${request.toString("pem")}\n`).toString("base64"),
        signerName: kind.signer ?? CLIENT,
        usages: [...(kind.usages ?? ["digital signature", "client auth"])],
      },
    },
  };
}

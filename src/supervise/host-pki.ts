import { randomBytes, X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { readIfThere, writeAtomically } from "./files.ts";
import { createCa, createSigningKeys, issue, type KeyedCertificate, needsRenewal } from "./pki.ts";

/** The host control plane's credentials, as files: `NAME.crt`, `NAME.key`. */
export interface HostPki {
  /** The file of a part. */
  file(name: string): string;
  readonly serverCa: string;
  readonly admin: KeyedCertificate;
}

const LEAF_DAYS = 365;

/**
 * Makes what is missing or soon runs out; what is there stays. Servers read renewed files by themselves.
 * One authority a purpose: what etcd trusts opens nothing at the apiserver, and the other way round.
 */
export async function hostPki(dir: string, addresses: readonly string[], now: Date): Promise<HostPki> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);
  const etcd = await authority(dir, "etcd-ca", "ironwright host etcd");
  const server = await authority(dir, "server-ca", "ironwright host");
  const clients = await authority(dir, "client-ca", "ironwright host clients");
  const leaf = (name: string, request: Omit<Parameters<typeof issue>[0], "days">) =>
    keep(dir, name, request.ca, request.sans ?? [], now, () => issue({ ...request, days: LEAF_DAYS, now }));

  await leaf("etcd-server", { ca: etcd, commonName: "etcd", sans: ["127.0.0.1", "localhost"], usages: ["server", "client"] });
  await leaf("etcd-client", { ca: etcd, commonName: "kube-apiserver", usages: ["client"] });
  await leaf("apiserver", { ca: server, commonName: "kube-apiserver", sans: serverNames(addresses), usages: ["server"] });
  const admin = await leaf("admin", { ca: clients, commonName: "ironwright-admin", organizations: ["system:masters"], usages: ["client"] });
  await signingKeys(dir);
  return { file: (name) => join(dir, name), serverCa: server.certificate, admin };
}

/** A certificate among the host's files. */
export interface HostCertificate {
  /** Its file's, without `.crt`. */
  readonly name: string;
  readonly ends: Date;
  /** What issues others is not renewed in place. */
  readonly issuer: boolean;
  /** A third of a leaf's life is left, a fifth of an authority's, or it is over. */
  readonly late: boolean;
}

/** What is there for a while beside the authority that counts. */
const BESIDE = new Set(["ca-bundle.crt", "chain.crt", "old.crt"]);

/** Every certificate in a directory, by name. */
export function certificatesIn(dir: string, now: Date): readonly HostCertificate[] {
  const files = existsSync(dir) ? readdirSync(dir).filter((file) => file.endsWith(".crt") && !BESIDE.has(file)) : [];
  return files.sort().flatMap((file) => {
    const text = readIfThere(join(dir, file));
    if (!text) return [];
    const { ca: issuer, validFromDate, validToDate: ends } = new X509Certificate(text);
    const left = ends.getTime() - now.getTime();
    const late = issuer ? left < (ends.getTime() - validFromDate.getTime()) / 5 : needsRenewal(text, now);
    return [{ name: file.replace(/\.crt$/, ""), ends, issuer, late }];
  });
}

function serverNames(addresses: readonly string[]): string[] {
  const inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
  return [...new Set([...addresses, "127.0.0.1", "localhost", ...inside])];
}

async function authority(dir: string, name: string, commonName: string): Promise<KeyedCertificate> {
  return read(dir, name) ?? write(dir, name, await createCa(commonName));
}

async function keep(
  dir: string,
  name: string,
  ca: KeyedCertificate,
  sans: readonly string[],
  now: Date,
  make: () => Promise<KeyedCertificate>,
): Promise<KeyedCertificate> {
  const before = read(dir, name);
  if (before && isGood(before, ca, sans, now)) return before;
  return write(dir, name, await make());
}

function isGood(leaf: KeyedCertificate, ca: KeyedCertificate, sans: readonly string[], now: Date): boolean {
  const certificate = new X509Certificate(leaf.certificate);
  const names = new Set((certificate.subjectAltName ?? "").split(", ").map((one) => one.replace(/^(DNS|IP Address):/, "")));
  return (
    certificate.checkIssued(new X509Certificate(ca.certificate)) &&
    sans.every((san) => names.has(san)) &&
    !needsRenewal(leaf.certificate, now) &&
    // made by a clock that was ahead: all who would judge it have the clock of this machine
    certificate.validFromDate <= now
  );
}

function read(dir: string, name: string): KeyedCertificate | undefined {
  const certificate = readIfThere(join(dir, `${name}.crt`));
  const key = readIfThere(join(dir, `${name}.key`));
  return certificate && key ? { certificate, key } : undefined;
}

/** The key first: a certificate without its key would be taken for complete. */
function write(dir: string, name: string, made: KeyedCertificate): KeyedCertificate {
  writeAtomically(join(dir, `${name}.key`), made.key);
  writeAtomically(join(dir, `${name}.crt`), made.certificate);
  return made;
}

async function signingKeys(dir: string): Promise<void> {
  if (readIfThere(join(dir, "service-accounts.pub"))) return;
  const keys = await createSigningKeys();
  writeAtomically(join(dir, "service-accounts.key"), keys.privateKey);
  writeAtomically(join(dir, "service-accounts.pub"), keys.publicKey);
}

/** Secrets are encrypted before they reach etcd: who has its files or a backup of them has no BMC password. */
export function encryptionConfiguration(file: string): void {
  if (readIfThere(file)) return;
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: [
      {
        resources: ["secrets"],
        providers: [{ secretbox: { keys: [{ name: "first", secret: randomBytes(32).toString("base64") }] } }, { identity: {} }],
      },
    ],
  };
  writeAtomically(file, stringify(configuration));
}

/** A kubeconfig for people and for the daemon, everything in it. */
export function kubeconfigOf(name: string, server: string, serverCa: string, user: KeyedCertificate): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority-data": base64(serverCa) } }],
    users: [{ name: `${name}-admin`, user: { "client-certificate-data": base64(user.certificate), "client-key-data": base64(user.key) } }],
    contexts: [{ name, context: { cluster: name, user: `${name}-admin` } }],
    "current-context": name,
  });
}

/** The server that a kubeconfig of ours names. */
export function serverOf(kubeconfig: string): string | undefined {
  const { clusters } = (parse(kubeconfig) ?? {}) as { clusters?: readonly { cluster?: { server?: string } }[] };
  return clusters?.[0]?.cluster?.server;
}

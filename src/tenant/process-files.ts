import { rm } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { makePrivate, writePrivate } from "./files.ts";
import { kubeconfigOfFiles } from "./kubeconfig.ts";
import { keyedOf } from "./pki.ts";
import type { Place } from "./place.ts";
import type { ControlPlane } from "./runtime.ts";
import { ACTIVITY_POLICY } from "./sleep/calls.ts";

/** Read first by who verifies: nobody is shown a certificate before its authority can be known. */
const TRUST = ["ca-bundle.crt", "front-proxy-ca-bundle.crt", "etcd-ca.crt"] as const;
/** A certificate, what certifies its issuer, and its key. */
const PAIRS = ["ca", "apiserver", "kubelet-client", "front-proxy", "controller-manager", "scheduler", "etcd"] as const;

/**
 * Writes the files of a control plane: what of its bundle its processes read, and what tells them of it. They may run, or be
 * stopped: each file is replaced whole, and read again by who has it open. A certificate and its key are one file, for of two
 * files a reader in between would see one new and one old.
 */
export async function writeControlPlane(home: string, { bundle }: ControlPlane, place: Place): Promise<void> {
  const pki = (file: string) => join(home, "pki", file);
  const config = (file: string) => join(home, "config", file);
  const write = (path: string, contents: string) => writePrivate(path, contents, SHARED);
  for (const dir of ["pki", "config", "log", "outside"]) await makePrivate(join(home, dir));
  for (const file of TRUST) await write(pki(file), bundle[file] ?? "");
  for (const name of PAIRS) {
    const { certificate, key } = keyedOf(bundle, name);
    await write(pki(`${name}.pem`), certificate + key);
  }
  await write(pki("service-account.key"), bundle["service-account.key"] ?? "");
  await write(pki("service-account.pub"), (bundle["service-account.pub"] ?? "") + (bundle["service-account-old.pub"] ?? ""));
  for (const file of BEFORE) await rm(pki(file), { force: true });
  const server = `https://127.0.0.1:${place.api.port}`;
  for (const client of ["controller-manager", "scheduler"] as const) {
    const files = { ca: place.pki("ca-bundle.crt"), certificate: place.pki(`${client}.pem`), key: place.pki(`${client}.pem`) };
    await write(config(`${client}.kubeconfig`), kubeconfigOfFiles(server, files));
  }
  await write(config("encryption.yaml"), stringify(encryption(bundle["encryption-key"] ?? "")));
  await write(config("authentication.yaml"), stringify(AUTHENTICATION));
  await write(config("audit.yaml"), stringify(ACTIVITY_POLICY));
  if (place.egressSocket !== undefined) await write(config("egress.yaml"), stringify(egressSelector(place.egressSocket)));
  // who asks whether it is awake; no process of the tenant's sees it
  const daemon = keyedOf(bundle, "daemon");
  await writePrivate(outsidePem(home), daemon.certificate + daemon.key);
}

/** A client certificate and its key for the supervisor's probes. */
export function outsidePem(home: string): string {
  return join(home, "outside", "daemon.pem");
}

/** The directories of a cell have the tenant's group; those of others are for root alone. */
const SHARED = 0o640;

/** Whatever the apiserver dials for its tenant leaves by one socket; etcd is not dialled for anybody. */
function egressSelector(udsName: string): object {
  const connection = { proxyProtocol: "HTTPConnect", transport: { uds: { udsName } } };
  return {
    apiVersion: "apiserver.k8s.io/v1beta1",
    kind: "EgressSelectorConfiguration",
    egressSelections: [
      { name: "cluster", connection },
      { name: "controlplane", connection },
      { name: "etcd", connection: { proxyProtocol: "Direct" } },
    ],
  };
}

/** Keys that no process of the tenant's is to have. */
const BEFORE = ["daemon.key", "people.key", "front-proxy-ca.key", "encryption-key"];

/** Secrets are encrypted at rest by a key of the tenant's own; `identity` last reads what a restore may bring. */
function encryption(key: string): object {
  return {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: [{ resources: ["secrets"], providers: [{ secretbox: { keys: [{ name: "key1", secret: key }] } }, { identity: {} }] }],
  };
}

/** Who says nothing of himself may ask for health, and for nothing else. */
const AUTHENTICATION = {
  apiVersion: "apiserver.config.k8s.io/v1",
  kind: "AuthenticationConfiguration",
  anonymous: { enabled: true, conditions: [{ path: "/livez" }, { path: "/readyz" }, { path: "/healthz" }] },
};

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { createCa, createSigningKeys, freePort, issue, type KeyedCertificate } from "../../src/supervise/index.ts";
import type { HostControlPlane } from "./host-control-plane.ts";

/**
 * A control plane as its makers document it: kube-apiserver, controller-manager and scheduler with the flags they cannot do
 * without, keys apart in the host's etcd. Its processes are the supervisor's and end with it.
 * @returns the administrator's kubeconfig, a file
 */
export async function plainCluster(host: HostControlPlane): Promise<string> {
  const dir = join(host.dir, "plain");
  mkdirSync(dir);
  const file = (name: string) => join(dir, name);
  const save = (name: string, { certificate, key }: KeyedCertificate) => {
    writeFileSync(file(`${name}.crt`), certificate);
    writeFileSync(file(`${name}.key`), key, { mode: 0o600 });
  };
  const ca = await createCa("plain");
  save("ca", ca);
  save("server", await issue({ ca, commonName: "kube-apiserver", sans: ["127.0.0.1"], usages: ["server"], days: 1 }));
  save("admin", await issue({ ca, commonName: "admin", organizations: ["system:masters"], usages: ["client"], days: 1 }));
  const accounts = await createSigningKeys();
  writeFileSync(file("sa.pub"), accounts.publicKey);
  writeFileSync(file("sa.key"), accounts.privateKey, { mode: 0o600 });
  const port = await freePort();
  const server = `https://127.0.0.1:${port}`;
  const kubeconfig = file("kubeconfig");
  writeFileSync(
    kubeconfig,
    stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "plain", cluster: { server, "certificate-authority": file("ca.crt") } }],
      users: [{ name: "admin", user: { "client-certificate": file("admin.crt"), "client-key": file("admin.key") } }],
      contexts: [{ name: "plain", context: { cluster: "plain", user: "admin" } }],
      "current-context": "plain",
    }),
    { mode: 0o600 },
  );
  const hostPki = (name: string) => join(host.dir, "pki", "host", name);
  const start = async (
    program: string,
    flags: readonly string[],
    ready?: { readonly http: { readonly url: string; readonly caFile: string } },
  ) => {
    const name = `plain-${program}`;
    const command = [join(host.artifacts.kube.bin, program), ...flags];
    await host.supervisor.ensure({ name, command, logFile: file(`${program}.log`), ...(ready ? { ready } : {}) });
    await host.supervisor.waitReady(name, { timeoutMs: 90_000 });
  };
  await start(
    "kube-apiserver",
    [
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      `--secure-port=${port}`,
      `--etcd-servers=${await etcdOf(host)}`,
      "--etcd-prefix=/plain",
      `--etcd-cafile=${hostPki("etcd-ca.crt")}`,
      `--etcd-certfile=${hostPki("etcd-client.crt")}`,
      `--etcd-keyfile=${hostPki("etcd-client.key")}`,
      "--etcd-compaction-interval=0",
      `--tls-cert-file=${file("server.crt")}`,
      `--tls-private-key-file=${file("server.key")}`,
      `--client-ca-file=${file("ca.crt")}`,
      "--authorization-mode=Node,RBAC",
      "--enable-bootstrap-token-auth=true",
      "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
      `--service-account-key-file=${file("sa.pub")}`,
      `--service-account-signing-key-file=${file("sa.key")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
    ],
    { http: { url: `${server}/readyz`, caFile: file("ca.crt") } },
  );
  await start("kube-controller-manager", [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    "--secure-port=0",
    `--root-ca-file=${file("ca.crt")}`,
    `--service-account-private-key-file=${file("sa.key")}`,
  ]);
  await start("kube-scheduler", [`--kubeconfig=${kubeconfig}`, "--leader-elect=false", "--secure-port=0"]);
  return kubeconfig;
}

/** Where the host's etcd listens: its child's command says so. */
async function etcdOf(host: HostControlPlane): Promise<string> {
  const { etcd } = JSON.parse(readFileSync(join(host.dir, "host", "ports.json"), "utf8")) as { etcd: number };
  return `https://127.0.0.1:${etcd}`;
}

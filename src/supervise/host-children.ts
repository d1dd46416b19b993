import { join } from "node:path";
import { stringify } from "yaml";
import type { ChildSpec } from "./supervisor.ts";

/** Where everything of the host control plane is. */
export interface HostPlaces {
  readonly kubeBin: string;
  readonly redisServer: string;
  readonly listen: { readonly address: string; readonly port: number };
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  /** Of certificates and keys. */
  readonly pki: (name: string) => string;
  /** Of data and configuration. */
  readonly state: (...path: string[]) => string;
  readonly logs: string;
}

/** More garbage collection for less memory: these are small servers on a machine that runs many. */
const SMALL = { GOGC: "50" } as const;

export function etcdChild({ kubeBin, etcdPort, etcdPeerPort, pki, state, logs }: HostPlaces): ChildSpec {
  const clients = `https://127.0.0.1:${etcdPort}`;
  const peers = `https://127.0.0.1:${etcdPeerPort}`;
  const [certFile, keyFile, caFile] = [pki("etcd-server.crt"), pki("etcd-server.key"), pki("etcd-ca.crt")];
  return {
    name: "host-etcd",
    command: [
      join(kubeBin, "etcd"),
      "--name=host",
      `--data-dir=${state("etcd")}`,
      `--listen-client-urls=${clients}`,
      `--advertise-client-urls=${clients}`,
      `--listen-peer-urls=${peers}`,
      `--initial-advertise-peer-urls=${peers}`,
      `--initial-cluster=host=${peers}`,
      `--cert-file=${certFile}`,
      `--key-file=${keyFile}`,
      `--trusted-ca-file=${caFile}`,
      "--client-cert-auth",
      `--peer-cert-file=${certFile}`,
      `--peer-key-file=${keyFile}`,
      `--peer-trusted-ca-file=${caFile}`,
      "--peer-client-cert-auth",
      // the apiserver compacts every 5 minutes; this is for the case that it does not run
      "--auto-compaction-mode=periodic",
      "--auto-compaction-retention=1h",
      `--quota-backend-bytes=${2 * 1024 ** 3}`,
      "--log-level=warn",
    ],
    env: SMALL,
    cwd: state(),
    logFile: join(logs, "host-etcd.log"),
    ready: { http: { url: `${clients}/readyz`, caFile, certFile: pki("etcd-client.crt"), keyFile: pki("etcd-client.key") } },
    stopTimeoutS: 15,
  };
}

export function apiserverChild({ kubeBin, listen, etcdPort, pki, state, logs }: HostPlaces): ChildSpec {
  return {
    name: "host-apiserver",
    command: [
      join(kubeBin, "kube-apiserver"),
      `--bind-address=${listen.address}`,
      `--secure-port=${listen.port}`,
      `--advertise-address=${listen.address}`,
      // no pod runs here, so nobody looks for the endpoints of the service "kubernetes"
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=10.96.0.0/24",
      `--etcd-servers=https://127.0.0.1:${etcdPort}`,
      `--etcd-cafile=${pki("etcd-ca.crt")}`,
      `--etcd-certfile=${pki("etcd-client.crt")}`,
      `--etcd-keyfile=${pki("etcd-client.key")}`,
      `--tls-cert-file=${pki("apiserver.crt")}`,
      `--tls-private-key-file=${pki("apiserver.key")}`,
      `--client-ca-file=${pki("client-ca.crt")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-signing-key-file=${pki("service-accounts.key")}`,
      `--service-account-key-file=${pki("service-accounts.pub")}`,
      "--authorization-mode=RBAC",
      `--authentication-config=${state("authentication.yaml")}`,
      `--encryption-provider-config=${state("encryption.yaml")}`,
      `--audit-policy-file=${state("audit.yaml")}`,
      `--audit-log-path=${join(logs, "host-audit.log")}`,
      "--audit-log-maxsize=16",
      "--audit-log-maxbackup=4",
      "--audit-log-maxage=90",
      "--event-ttl=6h",
      "--profiling=false",
      "--default-watch-cache-size=50",
    ],
    env: SMALL,
    cwd: state(),
    logFile: join(logs, "host-apiserver.log"),
    ready: { http: { url: `${serverUrl(listen)}/readyz`, caFile: pki("server-ca.crt") } },
    stopTimeoutS: 20,
  };
}

/** What a cluster without nodes needs of upstream's controllers: namespaces that end, quotas that count, roles that add up. */
const CONTROLLERS = ["namespace-controller", "resourcequota-controller", "clusterrole-aggregation-controller"];

/** @param kubeconfig file of an administrator */
export function controllerManagerChild({ kubeBin, state, logs }: HostPlaces, kubeconfig: string): ChildSpec {
  return {
    name: "host-controller-manager",
    command: [
      join(kubeBin, "kube-controller-manager"),
      `--kubeconfig=${kubeconfig}`,
      `--controllers=${CONTROLLERS.join(",")}`,
      // the only one: it is a child of the only supervisor
      "--leader-elect=false",
      // upstream lets nothing in that a quota names and nobody has counted, and counts a new kind only when it counts all again
      "--resource-quota-sync-period=10s",
      // nobody asks it anything
      "--secure-port=0",
      "--profiling=false",
    ],
    env: SMALL,
    cwd: state(),
    logFile: join(logs, "host-controller-manager.log"),
    stopTimeoutS: 10,
  };
}

export function redisChild({ redisServer, state, logs }: Pick<HostPlaces, "redisServer" | "state" | "logs">, socket: string): ChildSpec {
  return {
    name: "redis",
    command: [redisServer, state("redis.conf")],
    cwd: state(),
    argv0: "redis-server",
    logFile: join(logs, "redis.log"),
    ready: { unix: socket },
    stopTimeoutS: 10,
  };
}

/** Requests without credentials see whether it is healthy, and nothing else. */
export function authenticationConfiguration(): string {
  return stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    anonymous: { enabled: true, conditions: [{ path: "/livez" }, { path: "/readyz" }, { path: "/healthz" }] },
  });
}

/** Who changed what; bodies are left out, for they hold secrets. */
export function auditPolicy(): string {
  return stringify({
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [
      { level: "None", verbs: ["get", "list", "watch"] },
      {
        level: "None",
        resources: [
          { group: "", resources: ["events"] },
          { group: "coordination.k8s.io", resources: ["leases"] },
        ],
      },
      { level: "Metadata" },
    ],
  });
}

/** Only we reach it, by a socket in a directory of our own; AOF, so that a crash delays little work. */
export function redisConfiguration(dir: string, socket: string): string {
  return `${[
    "port 0",
    `unixsocket ${socket}`,
    "unixsocketperm 700",
    `dir ${dir}`,
    "daemonize no",
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "maxmemory-policy noeviction",
  ].join("\n")}\n`;
}

/** How clients on this machine dial it. */
export function serverUrl({ address, port }: { readonly address: string; readonly port: number }): string {
  return `https://${address === "0.0.0.0" ? "127.0.0.1" : address}:${port}`;
}

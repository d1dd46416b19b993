import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { IronwrightError } from "../core/errors.ts";
import type { ChildSpec, Supervisor } from "../supervise/index.ts";
import { makePrivate, writePrivate } from "./files.ts";
import { kubeconfigOfFiles } from "./kubeconfig.ts";
import type { ControlPlane, Runtime } from "./runtime.ts";
import { NODE_CIDR_BITS } from "./spec.ts";

export interface ProcessRuntimeOptions {
  readonly supervisor: Supervisor;
  /** Directory with kube-apiserver, kube-controller-manager and kube-scheduler. */
  readonly kubeBin: string;
  /** `<dataDir>/tenants`: one directory a tenant, by uid. */
  readonly dir: string;
}

const PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] as const;
type Program = (typeof PROGRAMS)[number];

const READY_TIMEOUT_MS = 60_000;
/** Half the garbage of Go's default for a few percent of CPU: an idle control plane is mostly garbage. */
const ENVIRONMENT = { GOGC: "50" };
/** Certificates of kubelets end by themselves this soon after their claim. */
const KUBELET_CERTIFICATE_LIFE = "1h";

/** Control planes as processes of this host, under the supervisor: they outlive the daemon. */
export function processRuntime({ supervisor, kubeBin, dir }: ProcessRuntimeOptions): Runtime {
  return {
    async ensure(plane, signal) {
      const home = join(dir, plane.uid);
      await writeFiles(home, plane);
      const specs = childSpecs(plane, home, kubeBin);
      const [apiserver, ...others] = specs;
      await supervisor.ensure(apiserver);
      await supervisor.waitReady(apiserver.name, { timeoutMs: READY_TIMEOUT_MS, signal });
      // these two give up or back off for seconds when there is nobody to talk to yet
      await Promise.all(others.map((spec) => supervisor.ensure(spec)));
    },

    async ailment(uid) {
      const children = new Map((await supervisor.list()).map((child) => [child.name, child]));
      for (const program of PROGRAMS) {
        const child = children.get(childName(uid, program));
        if (child?.state !== "running") return `${program} is ${child?.state ?? "not there"}${child?.reason ? `: ${child.reason}` : ""}`;
      }
      return undefined;
    },

    async remove(uid) {
      const home = join(dir, uid);
      for (const program of [...PROGRAMS].reverse()) await supervisor.remove(childName(uid, program));
      await rm(home, { recursive: true, force: true });
      const names = new Set<string>(PROGRAMS.map((program) => childName(uid, program)));
      const left = (await supervisor.list()).filter((child) => names.has(child.name)).map((child) => child.name);
      if (existsSync(home)) left.push(home);
      if (left.length > 0) throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: uid, what: left.join(", ") });
    },
  };
}

export function childName(uid: string, program: Program): string {
  return `tenant-${uid}-${program}`;
}

/** The files of a control plane: its bundle, and what tells its processes of it. */
async function writeFiles(home: string, plane: ControlPlane): Promise<void> {
  await makePrivate(join(home, "pki"));
  await makePrivate(join(home, "log"));
  for (const [file, text] of Object.entries(plane.bundle)) await writePrivate(join(home, "pki", file), text);
  const server = `https://127.0.0.1:${plane.port}`;
  for (const client of ["controller-manager", "scheduler"] as const) {
    const pki = (file: string) => join(home, "pki", file);
    const files = { ca: pki("ca.crt"), certificate: pki(`${client}.crt`), key: pki(`${client}.key`) };
    await writePrivate(join(home, `${client}.kubeconfig`), kubeconfigOfFiles(server, files));
  }
  await writePrivate(join(home, "encryption.yaml"), stringify(encryption(plane.bundle["encryption-key"] ?? "")));
  await writePrivate(join(home, "authentication.yaml"), stringify(AUTHENTICATION));
}

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

/** What runs for a tenant: pure, so that the same tenant is always the same three children. */
export function childSpecs(plane: ControlPlane, home: string, kubeBin: string): [ChildSpec, ChildSpec, ChildSpec] {
  const child = (program: Program, flags: readonly string[]): ChildSpec => ({
    name: childName(plane.uid, program),
    command: [join(kubeBin, program), ...flags],
    env: ENVIRONMENT,
    cwd: home,
    logFile: join(home, "log", `${program}.log`),
    stopTimeoutS: 10,
  });
  const caFile = join(home, "pki", "ca.crt");
  const ready = { http: { url: `https://127.0.0.1:${plane.port}/readyz`, caFile } };
  return [
    { ...child("kube-apiserver", apiserverFlags(plane, home)), ready },
    child("kube-controller-manager", controllerManagerFlags(plane, home)),
    child("kube-scheduler", schedulerFlags(home)),
  ];
}

function apiserverFlags({ spec, port, address, datastore }: ControlPlane, home: string): string[] {
  const pki = (file: string) => join(home, "pki", file);
  return [
    "--bind-address=0.0.0.0",
    `--secure-port=${port}`,
    `--advertise-address=${address}`,
    // Endpoints may not hold a loopback address: with nodes on this host alone there is nothing to advertise
    ...(address.startsWith("127.") ? ["--endpoint-reconciler-type=none"] : []),
    `--tls-cert-file=${pki("apiserver.crt")}`,
    `--tls-private-key-file=${pki("apiserver.key")}`,
    "--tls-min-version=VersionTLS12",
    `--etcd-servers=${datastore.endpoint}`,
    `--etcd-prefix=${datastore.prefix}`,
    `--etcd-cafile=${pki("etcd-ca.crt")}`,
    `--etcd-certfile=${pki("etcd.crt")}`,
    `--etcd-keyfile=${pki("etcd.key")}`,
    // compaction is of the whole etcd, not of a prefix: the shard does it, once for all
    "--etcd-compaction-interval=0",
    "--etcd-count-metric-poll-period=0",
    "--etcd-db-metric-poll-interval=0",
    `--encryption-provider-config=${join(home, "encryption.yaml")}`,
    `--authentication-config=${join(home, "authentication.yaml")}`,
    `--client-ca-file=${pki("ca.crt")}`,
    "--enable-bootstrap-token-auth=true",
    "--authorization-mode=Node,RBAC",
    // the second closes CVE-2025-5187: a node sheds its taints by having itself collected as garbage
    "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
    `--requestheader-client-ca-file=${pki("front-proxy-ca.crt")}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${pki("front-proxy.crt")}`,
    `--proxy-client-key-file=${pki("front-proxy.key")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${pki("service-account.pub")}`,
    `--service-account-signing-key-file=${pki("service-account.key")}`,
    `--service-cluster-ip-range=${spec.serviceCIDR}`,
    `--kubelet-certificate-authority=${pki("ca.crt")}`,
    `--kubelet-client-certificate=${pki("kubelet-client.crt")}`,
    `--kubelet-client-key=${pki("kubelet-client.key")}`,
    "--kubelet-preferred-address-types=InternalIP,Hostname",
    "--profiling=false",
  ];
}

function controllerManagerFlags({ spec }: ControlPlane, home: string): string[] {
  const pki = (file: string) => join(home, "pki", file);
  return [
    `--kubeconfig=${join(home, "controller-manager.kubeconfig")}`,
    "--leader-elect=false",
    "--secure-port=0",
    // one client for all controllers: thirty accounts take seconds to make, and their tokens end while a tenant sleeps
    "--use-service-account-credentials=false",
    // requests of kubelets are approved by the daemon alone, by the claim; expired tokens go by themselves
    "--controllers=*,-certificatesigningrequest-approving-controller,token-cleaner-controller",
    `--root-ca-file=${pki("ca.crt")}`,
    `--service-account-private-key-file=${pki("service-account.key")}`,
    `--cluster-signing-cert-file=${pki("ca.crt")}`,
    `--cluster-signing-key-file=${pki("ca.key")}`,
    `--cluster-signing-duration=${KUBELET_CERTIFICATE_LIFE}`,
    "--allocate-node-cidrs=true",
    `--cluster-cidr=${spec.podCIDR}`,
    `--service-cluster-ip-range=${spec.serviceCIDR}`,
    `--node-cidr-mask-size=${NODE_CIDR_BITS}`,
    "--profiling=false",
  ];
}

function schedulerFlags(home: string): string[] {
  return [`--kubeconfig=${join(home, "scheduler.kubeconfig")}`, "--leader-elect=false", "--secure-port=0", "--profiling=false"];
}

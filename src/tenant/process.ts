import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { IronwrightError } from "../core/errors.ts";
import type { ChildSpec, Supervisor } from "../supervise/index.ts";
import type { Bundle } from "./pki.ts";
import { writeControlPlane } from "./process-files.ts";
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
      await writeControlPlane(home, plane);
      const specs = childSpecs(plane, home, kubeBin);
      const [apiserver, ...others] = specs;
      await supervisor.ensure(apiserver);
      await supervisor.waitReady(apiserver.name, { timeoutMs: READY_TIMEOUT_MS, signal });
      // these two give up or back off for seconds when there is nobody to talk to yet
      await Promise.all(others.map((spec) => supervisor.ensure(spec)));
    },

    refresh: (plane) => writeControlPlane(join(dir, plane.uid), plane),

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

/** What runs for a tenant: pure, so that the same tenant is always the same three children. */
export function childSpecs(plane: ControlPlane, home: string, kubeBin: string): [ChildSpec, ChildSpec, ChildSpec] {
  const child = (program: Program, flags: readonly string[], reads: readonly string[] = []): ChildSpec => ({
    name: childName(plane.uid, program),
    command: [join(kubeBin, program), ...flags],
    env: { ...ENVIRONMENT, ...restartedBy(plane.bundle, reads) },
    cwd: home,
    logFile: join(home, "log", `${program}.log`),
    stopTimeoutS: 10,
  });
  const caFile = join(home, "pki", "ca-bundle.crt");
  const ready = { http: { url: `https://127.0.0.1:${plane.port}/readyz`, caFile } };
  return [
    { ...child("kube-apiserver", apiserverFlags(plane, home), SIGNING_KEYS), ready },
    child("kube-controller-manager", controllerManagerFlags(plane, home), [...SIGNING_KEYS, "ca-bundle.crt"]),
    child("kube-scheduler", schedulerFlags(home)),
  ];
}

const SIGNING_KEYS = ["service-account.pub", "service-account-old.pub"];

/**
 * What a program reads once, when it starts: another content is another child, which the supervisor starts anew. Everything else
 * is read again as it changes. The files are public ones.
 */
function restartedBy(bundle: Bundle, files: readonly string[]): Record<string, string> {
  if (files.length === 0) return {};
  const hash = createHash("sha256");
  for (const file of files) hash.update(bundle[file] ?? "");
  return { IRONWRIGHT_READ_AT_START: hash.digest("hex") };
}

function apiserverFlags({ spec, port, address, datastore }: ControlPlane, home: string): string[] {
  const pki = (file: string) => join(home, "pki", file);
  return [
    "--bind-address=0.0.0.0",
    `--secure-port=${port}`,
    `--advertise-address=${address}`,
    // Endpoints may not hold a loopback address: with nodes on this host alone there is nothing to advertise
    ...(address.startsWith("127.") ? ["--endpoint-reconciler-type=none"] : []),
    `--tls-cert-file=${pki("apiserver.pem")}`,
    `--tls-private-key-file=${pki("apiserver.pem")}`,
    "--tls-min-version=VersionTLS12",
    `--etcd-servers=${datastore.endpoint}`,
    `--etcd-prefix=${datastore.prefix}`,
    `--etcd-cafile=${pki("etcd-ca.crt")}`,
    `--etcd-certfile=${pki("etcd.pem")}`,
    `--etcd-keyfile=${pki("etcd.pem")}`,
    // compaction is of the whole etcd, not of a prefix: the shard does it, once for all
    "--etcd-compaction-interval=0",
    "--etcd-count-metric-poll-period=0",
    "--etcd-db-metric-poll-interval=0",
    `--encryption-provider-config=${join(home, "encryption.yaml")}`,
    `--authentication-config=${join(home, "authentication.yaml")}`,
    `--client-ca-file=${pki("ca-bundle.crt")}`,
    "--enable-bootstrap-token-auth=true",
    "--authorization-mode=Node,RBAC",
    // the second closes CVE-2025-5187: a node sheds its taints by having itself collected as garbage
    "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
    `--requestheader-client-ca-file=${pki("front-proxy-ca-bundle.crt")}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${pki("front-proxy.pem")}`,
    `--proxy-client-key-file=${pki("front-proxy.pem")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${pki("service-account.pub")}`,
    `--service-account-signing-key-file=${pki("service-account.key")}`,
    `--service-cluster-ip-range=${spec.serviceCIDR}`,
    `--kubelet-certificate-authority=${pki("ca-bundle.crt")}`,
    `--kubelet-client-certificate=${pki("kubelet-client.pem")}`,
    `--kubelet-client-key=${pki("kubelet-client.pem")}`,
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
    `--root-ca-file=${pki("ca-bundle.crt")}`,
    `--service-account-private-key-file=${pki("service-account.key")}`,
    `--cluster-signing-cert-file=${pki("ca.pem")}`,
    `--cluster-signing-key-file=${pki("ca.pem")}`,
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

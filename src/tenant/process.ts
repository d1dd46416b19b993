import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { IronwrightError } from "../core/errors.ts";
import type { ChildSpec, ChildStatus, Supervisor } from "../supervise/index.ts";
import type { Isolation } from "./isolation.ts";
import type { Bundle } from "./pki.ts";
import { cellName, cellPlace, egressMount, openPlace, type Place } from "./place.ts";
import { outsidePem, writeControlPlane } from "./process-files.ts";
import type { ControlPlane, Runtime } from "./runtime.ts";
import { NODE_CIDR_BITS } from "./spec.ts";

export interface ProcessRuntimeOptions {
  readonly supervisor: Supervisor;
  /** Directory with kube-apiserver, kube-controller-manager and kube-scheduler. */
  readonly kubeBin: string;
  /** `<dataDir>/tenants`: one directory a control plane, by id. */
  readonly dir: string;
  /** How tenants are kept apart; without it they are not. */
  readonly isolation?: Isolation;
}

const PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] as const;
const PARTS = ["door", ...PROGRAMS] as const;
type Program = (typeof PROGRAMS)[number];

const READY_TIMEOUT_MS = 60_000;
/** Half the garbage of Go's default for a few percent of CPU: an idle control plane is mostly garbage. */
const ENVIRONMENT = { GOGC: "50" };
/** Certificates of kubelets end by themselves this soon after their claim. */
const KUBELET_CERTIFICATE_LIFE = "1h";

/** Control planes as processes of this host, under the supervisor: they outlive the daemon. */
export function processRuntime({ supervisor, kubeBin, dir, isolation }: ProcessRuntimeOptions): Runtime {
  function placeOf(plane: ControlPlane): { readonly home: string; readonly place: Place } {
    const home = join(dir, plane.id);
    return { home, place: isolation ? cellPlace(plane, home, kubeBin, isolation) : openPlace(plane, home, kubeBin) };
  }

  async function write(plane: ControlPlane): Promise<void> {
    const { home, place } = placeOf(plane);
    await mkdir(home, { recursive: true });
    // the gateway, without rights, has sockets further down; what else is there is closed by itself
    if (isolation) {
      for (const path of [dirname(dir), dir, home]) await chmod(path, PASSABLE);
      await passable(home);
    }
    await writeControlPlane(home, plane, place);
  }

  function inCell(id: string): string {
    if (isolation) return cellName(id);
    throw new IronwrightError("IRW_ISOLATION", { reason: "tenants.isolation is none, and only what is in a cell sleeps" });
  }

  const parts = isolation ? PARTS : PROGRAMS;
  function childrenOf(id: string): Promise<readonly ChildStatus[]> {
    return supervisor.list(PARTS.map((part) => childName(id, part)));
  }

  /** Also where a supervisor that was killed had put down, or roused, a part of it. */
  async function sleeps(id: string): Promise<boolean> {
    const cell = await supervisor.cell(cellName(id));
    return cell?.children.some(({ state }) => state === "frozen" || state === "stopped") ?? false;
  }

  return {
    async ensure(plane, signal) {
      const { home, place } = placeOf(plane);
      await write(plane);
      const [apiserver, ...others] = childSpecs(plane, place, home, isolation);
      if (place.door) await supervisor.ensure(place.door);
      await supervisor.ensure(apiserver);
      if (place.door && (await sleeps(plane.id))) {
        for (const spec of others) await supervisor.ensure(spec);
        await supervisor.wakeCell(cellName(plane.id));
        return;
      }
      await supervisor.waitReady(apiserver.name, { timeoutMs: READY_TIMEOUT_MS, signal });
      // these two give up or back off for seconds when there is nobody to talk to yet
      await Promise.all(
        others.map(async (spec) => {
          await supervisor.ensure(spec);
          await supervisor.waitReady(spec.name, { timeoutMs: READY_TIMEOUT_MS, signal });
        }),
      );
    },

    async hibernate(id) {
      const cell = inCell(id);
      const { native, swap } = isolation ?? {};
      // made when the first one sleeps; why there is none, freezing says
      const ours = native !== undefined && swap && swap.bytes > 0 ? await supervisor.keepSwap({ ...swap, native }) : undefined;
      if (swap?.encryption !== "require") return supervisor.freezeCell(cell);
      // the host's own swap may be in clear as well
      const { kind = "plain", reason = "there is no swap of ours, and other swap may not be encrypted" } = ours ?? {};
      if (kind === "plain") return { ...(await supervisor.stopCell(cell)), reason };
      return supervisor.freezeCell(cell, { encrypted: true });
    },
    stop: async (id) => supervisor.stopCell(inCell(id)),
    wake: async (id) => supervisor.wakeCell(inCell(id)),
    cell: async (id) => (isolation ? supervisor.cell(cellName(id)) : undefined),

    async refresh(plane) {
      await write(plane);
      if (!isolation || !(await sleeps(plane.id))) return;
      const { home, place } = placeOf(plane);
      // what has read another content as it started ends here, out of its sleep, and starts when it is woken
      for (const spec of childSpecs(plane, place, home, isolation)) await supervisor.ensure(spec);
    },

    async goesOn(id, signal) {
      const asleep = (await childrenOf(id)).filter(({ state }) => state === "frozen");
      await Promise.all(asleep.map(({ name }) => supervisor.waitReady(name, { timeoutMs: READY_TIMEOUT_MS, signal })));
    },

    dial: (plane) => placeOf(plane).place.dial,

    async ailment(id) {
      const children = await childrenOf(id);
      for (const part of parts) {
        const child = children.find(({ name }) => name === childName(id, part));
        if (child?.state !== "running") return `${part} is ${child?.state ?? "not there"}${child ? lastOf(child) : ""}`;
      }
      return undefined;
    },

    async restarts(id) {
      const again = (await childrenOf(id)).filter((child) => child.restarts > 0);
      if (again.length === 0) return undefined;
      return again
        .map((child) => `${PARTS.find((part) => child.name === childName(id, part))} ended lately and was started anew${lastOf(child)}`)
        .join("; ");
    },

    async remove(id) {
      const home = join(dir, id);
      // the door last: its cell goes with it
      for (const part of [...PARTS].reverse()) await supervisor.remove(childName(id, part));
      await rm(home, { recursive: true, force: true });
      const left = (await childrenOf(id)).map((child) => child.name);
      if (existsSync(home)) left.push(home);
      if (left.length > 0) throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: id, what: left.join(", ") });
    },
  };
}

const PASSABLE = 0o711;

/** @throws IRW_ISOLATION naming the directory on the way that only its owner may pass */
async function passable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o001) === 0) {
    const reason = `users of tenants cannot pass ${path}; let others pass it (chmod o+x), or choose a dataDir elsewhere`;
    throw new IronwrightError("IRW_ISOLATION", { reason });
  }
  if (dirname(path) !== path) await passable(dirname(path));
}

/** Why it last ended, with its last words. */
function lastOf({ reason, lastLog }: ChildStatus): string {
  return `${reason ? `: ${reason}` : ""}${lastLog ? `; its last lines:\n${lastLog}` : ""}`;
}

export function childName(id: string, part: (typeof PARTS)[number]): string {
  return `tenant-${id}-${part}`;
}

/** The log of one program, by paths of the host; the apiserver's has its calls in it. */
export function logOf(home: string, program: Program): string {
  return join(home, "log", `${program}.log`);
}

/** What runs for a tenant, besides its door: pure, so that the same tenant is always the same three children. */
export function childSpecs(plane: ControlPlane, place: Place, home: string, isolation?: Isolation): [ChildSpec, ChildSpec, ChildSpec] {
  const cpuMillis = plane.spec.limits?.cpuMillis ?? isolation?.limits.cpuMillis;
  // it cannot see its cgroup to know
  const cores = cpuMillis === undefined ? {} : { GOMAXPROCS: String(Math.ceil(cpuMillis / 1000)) };
  const egress = isolation && plane.user !== undefined ? [egressMount(home, plane.user, isolation)] : [];
  const child = (program: Program, flags: readonly string[], reads: readonly string[] = []): ChildSpec => ({
    name: childName(plane.id, program),
    command: [place.program(program), ...flags],
    env: { ...ENVIRONMENT, ...cores, ...restartedBy(plane.bundle, reads) },
    logFile: logOf(home, program),
    stopTimeoutS: 10,
    ...place.around(program === "kube-apiserver" ? egress : []),
  });
  const caFile = join(home, "pki", "ca-bundle.crt");
  return [
    {
      ...child("kube-apiserver", apiserverFlags(plane, place), SIGNING_KEYS),
      ready: place.asks("/readyz", { caFile }),
      // not by /readyz, which waits up to two seconds for etcd (newETCD3Check of k8s.io/apiserver); nor by a list, which waits for the
      // next progress report of a watch, a tenth of a second. One object is read from etcd itself
      awake: place.asks("/api/v1/namespaces/kube-system", { caFile, certFile: outsidePem(home), keyFile: outsidePem(home) }),
    },
    child("kube-controller-manager", controllerManagerFlags(plane, place), [...SIGNING_KEYS, "ca-bundle.crt"]),
    child("kube-scheduler", schedulerFlags(place)),
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

function apiserverFlags({ spec, address, datastore }: ControlPlane, place: Place): string[] {
  const { pki, config, api, etcd, egressSocket } = place;
  return [
    `--bind-address=${api.address}`,
    `--secure-port=${api.port}`,
    `--advertise-address=${address}`,
    // it takes a Service's endpoints itself: on nodes without kube-proxy nobody answers at a Service's address
    "--enable-aggregator-routing=true",
    // nodes come in by another port than its own: the daemon keeps the endpoints of the service "kubernetes"
    "--endpoint-reconciler-type=none",
    ...(egressSocket === undefined ? [] : [`--egress-selector-config-file=${config("egress.yaml")}`]),
    `--tls-cert-file=${pki("apiserver.pem")}`,
    `--tls-private-key-file=${pki("apiserver.pem")}`,
    "--tls-min-version=VersionTLS12",
    `--etcd-servers=${etcd}`,
    `--etcd-prefix=${datastore.prefix}`,
    `--etcd-cafile=${pki("etcd-ca.crt")}`,
    `--etcd-certfile=${pki("etcd.pem")}`,
    `--etcd-keyfile=${pki("etcd.pem")}`,
    // compaction is of the whole etcd, not of a prefix: the shard does it, once for all
    "--etcd-compaction-interval=0",
    "--etcd-count-metric-poll-period=0",
    "--etcd-db-metric-poll-interval=0",
    `--encryption-provider-config=${config("encryption.yaml")}`,
    `--authentication-config=${config("authentication.yaml")}`,
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
    `--audit-policy-file=${config("audit.yaml")}`,
    // its standard output, which is the supervisor's file: a tenant has no file of ours to write in
    "--audit-log-path=-",
    "--profiling=false",
  ];
}

function controllerManagerFlags({ spec }: ControlPlane, { pki, config }: Place): string[] {
  return [
    `--kubeconfig=${config("controller-manager.kubeconfig")}`,
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

function schedulerFlags({ config }: Place): string[] {
  return [`--kubeconfig=${config("scheduler.kubeconfig")}`, "--leader-elect=false", "--secure-port=0", "--profiling=false"];
}

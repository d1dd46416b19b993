import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import { FINALIZER_TENANT, refOf, SYSTEM_NAMESPACE, type TenantRef, tenantText } from "../core/names.ts";
import { type NodeClaim, VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { type EventRecorder, type Kube, reflector } from "../kube/index.ts";
import type { Metrics } from "../observe/index.ts";
import type { Supervisor } from "../supervise/index.ts";
import { reconciler } from "../work/index.ts";
import { hostAdmissions } from "./admissions.ts";
import { approver } from "./approver.ts";
import { type Attachment, keyOfRef } from "./attachments.ts";
import { keepFull } from "./bootstrap.ts";
import { declarations } from "./declaration.ts";
import { entrance } from "./entrance.ts";
import { gatewayMeter } from "./gateway/meter.ts";
import { hostNames } from "./gateway/route.ts";
import { keepGivenBack } from "./given-back.ts";
import { holds } from "./holds.ts";
import type { Isolation } from "./isolation.ts";
import { type JoinCredential, type JoiningNode, joins, type NodeIdentity, type NodeWay } from "./join.ts";
import { type KeyTimes, tenantKeys } from "./keys.ts";
import { type PeoplesDoor, peoplesKubeconfig } from "./peoples-door.ts";
import { cellName, idOfCell } from "./place.ts";
import type { DatastoreLimits } from "./placement.ts";
import type { PortRange } from "./ports.ts";
import { processRuntime } from "./process.ts";
import { madeBefore } from "./queue.ts";
import { readiness } from "./readiness.ts";
import { type AdmittedPlane, type RestingTenant, resting } from "./resting.ts";
import { type ControlPlane, idOf } from "./runtime.ts";
import { seats } from "./seats.ts";
import { tenantSecrets } from "./secrets.ts";
import { etcdShards } from "./shards.ts";
import { type Judgement, sleeper, turned } from "./sleeper.ts";
import { type TakenAddress, type TenantSpec, tenantSpec } from "./spec.ts";
import { orRefusal, specReader } from "./spec-reader.ts";
import { type ConditionType, pending, report, unmet } from "./status.ts";
import { tearDown } from "./teardown.ts";
import { meant } from "./template/resolve.ts";
import type { ControlPlaneUse } from "./usage.ts";
import { warmPool } from "./warm-pool.ts";
import { type PlaneWatch, watchPlanes } from "./watch.ts";

export interface TenantOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly supervisor: Supervisor;
  /** Directory with etcd, kube-apiserver, kube-controller-manager and kube-scheduler. */
  readonly kubeBin: string;
  /** The bundle's version, e.g. `v1.36.3`. */
  readonly kubeVersion: string;
  readonly dataDir: string;
  readonly listen: { readonly nodes: string; readonly people: readonly string[]; readonly ports: PortRange };
  /** Networks of the site, which no tenant's may overlap. */
  readonly networks?: readonly TakenAddress[];
  readonly datastore?: DatastoreLimits;
  /** How tenants are kept apart; without it they share the host. */
  readonly isolation?: Isolation;
  /** How many control planes are kept ready for tenants to come; they sleep, so it takes cells. */
  readonly warm?: number;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly events: EventRecorder;
  /** How long certificates live and their changes take; default {@link KEY_TIMES}. */
  readonly keyTimes?: KeyTimes;
}

const DATASTORE: DatastoreLimits = { tenantsPerShard: 20, quotaBytes: 128 * 2 ** 20 };

/** Tenants' control planes, as the rest of the daemon sees them. */
export interface Tenants {
  /** Those that are Ready. */
  list(): readonly TenantRef[];
  /** The list changed. */
  onChange(listener: () => void): void;
  /** An administrator's client, kept and closed by the controller. @throws IRW_TENANT_NOT_READY */
  kube(ref: TenantRef): Kube;
  /** Mints a bootstrap token for this claim alone and lets its node through admission. @throws IRW_TENANT_NOT_READY */
  admit(ref: TenantRef, node: JoiningNode): Promise<JoinCredential>;
  /**
   * Its Node is Ready: what is behind it may be dialled, if there is a way. What it says of the pod network is only where its pods are looked
   * for first. Idempotent.
   */
  noteWay(ref: TenantRef, node: NodeIdentity, way: NodeWay): Promise<void>;
  /** Token, admission and Node are gone afterwards, and the tenant's apiserver was seen to refuse the node. Idempotent. */
  revoke(ref: TenantRef, node: NodeIdentity): Promise<void>;
}

export interface TenantController extends Tenants {
  /** What control planes take, by `project.name`. */
  measured(): Promise<ReadonlyMap<string, ControlPlaneUse>>;
  /** Its status keeps what it had of the node whose claim ends, and is asked to before the claim is gone. Idempotent. */
  keepGivenBack(ref: TenantRef, ending: NodeClaim): Promise<void>;
  start(): Promise<void>;
  /** Ends the controller's own work. Control planes go on: they are the supervisor's. */
  stop(): Promise<void>;
}

/** Makes a control plane of every VirtualCluster, keeps it so, and leaves nothing of one that is deleted. */
export function tenantController(options: TenantOptions): TenantController {
  const { kube, supervisor, kubeBin, kubeVersion, dataDir, listen, networks = [], isolation, clock, random, log, events } = options;
  const runtime = processRuntime({ supervisor, kubeBin, dir: join(dataDir, "tenants"), ...(isolation ? { isolation } : {}) });
  const way = entrance({ supervisor, dataDir, isolation });
  const datastore = etcdShards({
    dir: join(dataDir, "datastore"),
    etcdPath: join(kubeBin, "etcd"),
    supervisor,
    clock,
    random,
    log,
    limits: options.datastore ?? DATASTORE,
    ...(options.metrics ? { metrics: options.metrics } : {}),
  });
  const admissions = hostAdmissions(kube);
  const peoples: PeoplesDoor = { people: listen.people, nodes: listen.nodes, isolation };
  const declared = declarations({ kube, clock, events });
  const ending = new AbortController();
  const keys = tenantKeys({ kube, clock, random, log, events, ending: ending.signal, times: options.keyTimes });
  const sleeping = sleeper({ kube, runtime, dataDir, clock });
  const held = holds({
    clock,
    log,
    dial: runtime.dial,
    onRequest: ({ ref }, request) => certificates.nudge(`${tenantText(ref)}/${request}`),
    onTamper: (key) => {
      // what waits in the pool is no VirtualCluster's yet
      if (clusters.get(key)) control.nudge(key);
    },
  });
  const rest = resting({ kube, runtime, way, admissions, sleeping, clock, events });
  const reportReady = readiness({ kube, clock, events, log, runtime, datastore, admissions, door: peoples });
  const ready = new Map<string, TenantRef>();
  /** Until when, at most, somebody needs it awake who is no caller: until its machine is given back. */
  const needed = new Map<string, number>();
  const listeners: (() => void)[] = [];

  function attachment(ref: TenantRef): Attachment {
    const key = keyOfRef(ref);
    const one = held.of(key);
    if (one) return one;
    // whoever asks for a sleeper's control plane has a machine of its to give back: it is woken for that
    needed.set(key, clock.now().getTime() + NEEDED_MS);
    control.nudge(key);
    throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: tenantText(ref), reason: "it has not answered yet" });
  }

  const { admit, noteWay, revoke, spend } = joins({
    kube,
    admissions,
    attachment,
    address: listen.nodes,
    clock,
    random,
    log,
    onChange: (ref) => control.nudge(keyOfRef(ref)),
    closeWayTo: (cluster, nodeName) => way.dropNode(idOf(cluster), nodeName),
  });
  const certificates = approver({ admissions, joins: { spend }, attachments: () => held.all(), clock, log });
  const clusters = reflector({ kube, kind: VIRTUAL_CLUSTER, log, clock, onChange: (key) => control.nudge(key) });
  const control = reconciler({ name: "tenants", log, clock, concurrency: 16, keys: toLookAt, reconcile });

  const taking = seats({ kube, ports: listen.ports, isolation, alsoTaken: () => pool.taken() });
  const specs = specReader({
    kubeVersion,
    sleeps: isolation !== undefined,
    taken: [
      { address: listen.nodes, whose: "the address nodes dial" },
      ...listen.people.map((address) => ({ address, whose: "an address people dial" })),
      ...networks,
    ],
    ...(options.keyTimes ? { shortestOverlapMs: options.keyTimes.shortestOverlapMs } : {}),
  });
  let looks = 0;
  /** Of sleepers, to whom nothing happens unseen, a part each time; of the others all. */
  function toLookAt(): readonly string[] {
    looks += 1;
    const isDue = ({ status }: VirtualCluster, nth: number) =>
      (status?.sleep?.state ?? "awake") === "awake" || nth % SLEEPERS_LOOKS === looks % SLEEPERS_LOOKS;
    return clusters
      .list()
      .filter(isDue)
      .map((one) => keyOfRef(refOf(one)));
  }

  const plain = tenantSpec(NAMELESS, kubeVersion, []);
  const pool = warmPool({
    kube,
    size: isolation ? (options.warm ?? 0) : 0,
    spec: plain,
    address: listen.nodes,
    runtime,
    datastore,
    way,
    held,
    clock,
    random,
    log,
    sans: commonNames(plain),
    ...(options.keyTimes ? { lives: options.keyTimes.lives } : {}),
    choose: (keep) => taking.inTurn(async (choose) => keep(await choose())),
  });

  /** What every apiserver's certificate is for. */
  function commonNames({ serviceAddress }: TenantSpec): readonly string[] {
    return [...new Set(["localhost", "127.0.0.1", listen.nodes, ...listen.people, serviceAddress, ...SERVICE_NAMES])];
  }

  async function reconcile(key: string, signal: AbortSignal): Promise<{ readonly afterMs?: number } | undefined> {
    const [namespace = "", name = ""] = key.split("/");
    const found = await kube.get(VIRTUAL_CLUSTER, name, namespace);
    if (!found) return detach(key);
    if (found.metadata.deletionTimestamp) return remove(found, signal);
    const cluster = await orRefusal(() => declared.readTemplate(found));
    if (cluster instanceof IronwrightError) return refuse(found, cluster);
    const spec = await orRefusal(() => specs(cluster));
    if (spec instanceof IronwrightError) return refuse(cluster, spec);
    // before anything can fail: what cannot run is deleted in its time all the same
    const alive = await declared.live(cluster, spec.ttlMs);
    if (!alive) return undefined;
    const placed = await allocate(await holdFinalizer(alive.cluster), spec);
    const before = madeBefore(placed, clusters.list());
    if (before >= COLD_STARTS) {
      await report(kube, clock, placed, { phase: "Creating", set: [pending("Ready", "Queued", `${before} others are made before it`)] });
      return { afterMs: QUEUED_MS };
    }
    const judged = await sleeping.judge(placed, spec.sleep, held.of(key)?.kube, needed.get(key));
    const { afterMs } =
      judged.decision.state === "awake" ? await run(placed, spec, judged, signal) : await putToRest(placed, spec, judged, signal);
    const lookMs = (judged.decision.lookAgainAt ?? Number.POSITIVE_INFINITY) - clock.now().getTime();
    return { afterMs: Math.max(0, Math.min(afterMs, lookMs, alive.afterMs ?? afterMs)) };
  }

  /** An invalid spec starts nothing; what already runs by an earlier spec is left running. */
  async function refuse(cluster: VirtualCluster, error: IronwrightError): Promise<undefined> {
    events.record(cluster, "Warning", "SpecRefused", error.message);
    await report(kube, clock, cluster, { phase: "Failed", set: [unmet("Ready", error)] });
    return undefined;
  }

  async function holdFinalizer(cluster: VirtualCluster): Promise<VirtualCluster> {
    const finalizers = cluster.metadata.finalizers ?? [];
    if (finalizers.includes(FINALIZER_TENANT)) return cluster;
    return kube.replace(VIRTUAL_CLUSTER, { ...cluster, metadata: { ...cluster.metadata, finalizers: [...finalizers, FINALIZER_TENANT] } });
  }

  async function allocate(cluster: VirtualCluster, spec: TenantSpec): Promise<VirtualCluster> {
    const { podCIDR, serviceCIDR } = spec;
    const { port, userID } = cluster.status ?? {};
    if (port !== undefined && (userID !== undefined || !isolation)) return report(kube, clock, cluster, { podCIDR, serviceCIDR });
    return taking.inTurn(async (choose) => {
      const warm = port === undefined ? await pool.take(cluster, spec) : undefined;
      if (warm) await tenantSecrets(kube, refOf(cluster), cluster.metadata.uid ?? "").writeBundle(warm.bundle);
      const place = warm ?? (await choose({ ...(port === undefined ? {} : { port }), ...(userID === undefined ? {} : { userID }) }));
      const placed = await report(kube, clock, cluster, {
        phase: "Creating",
        port: place.port,
        podCIDR,
        serviceCIDR,
        ...(isolation ? { userID: place.userID } : {}),
        ...(warm ? { plane: warm.id } : {}),
        set: [pending("Ready", "Creating", warm ? "a control plane that was ready is being named" : "its control plane is being made")],
      });
      if (warm) await pool.given(warm.id);
      return placed;
    });
  }

  /** One stage of a control plane, with the condition that says how it went. */
  async function stage<T>(cluster: VirtualCluster, type: ConditionType, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // a conflict is news of a newer object, which the next run reads; and a daemon that stops is no ailment of the tenant
      if (signal.aborted || isError(error, "IRW_KUBE_CONFLICT")) throw error;
      leaveReady(keyOfRef(refOf(cluster)));
      await report(kube, clock, cluster, {
        phase: "Failed",
        set: [unmet(type, error), pending("Ready", `${type.replace("Ready", "")}NotReady`, reasonOf(error).slice(0, 1000))],
      });
      throw error;
    }
  }

  async function run(
    cluster: VirtualCluster,
    spec: TenantSpec,
    judged: Judgement,
    signal: AbortSignal,
  ): Promise<{ readonly afterMs: number }> {
    const key = keyOfRef(refOf(cluster));
    const { plane, kept } = await started(cluster, spec, signal);
    await stage(cluster, "AdmissionReady", signal, async () => {
      await held.take(key, plane, () => admissions.read(plane.ref), signal);
      // nodes come in by today's list, never by the one from before it slept
      await way.open(plane, await admissions.read(plane.ref), signal);
    });
    await stage(cluster, "DatastoreFull", signal, () => closeWhenFull(key, plane));
    await tenantSecrets(kube, plane.ref, cluster.metadata.uid ?? "").writeKubeconfig(peoplesKubeconfig(plane, peoples));
    await stage(cluster, "ControlPlaneReady", signal, async () => {
      await runtime.goesOn(plane.id, signal);
      const ailment = await runtime.ailment(plane.id);
      if (ailment) throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: tenantText(plane.ref), reason: ailment });
    });
    await reportReady(cluster, { plane, kept, sleep: turned(judged.status, "awake", clock.now(), judged.decision.why) });
    if (!ready.has(key)) {
      ready.set(key, plane.ref);
      changed();
    }
    return { afterMs: kept.afterMs };
  }

  /** Its datastore lets it in, it answers, and people and nodes come through. */
  async function started(cluster: VirtualCluster, spec: TenantSpec, signal: AbortSignal) {
    const { plane, report: kept } = await admitted(cluster, spec, signal);
    return stage(cluster, "ControlPlaneReady", signal, async () => {
      await runtime.ensure(plane, signal);
      await way.prepare(plane, await admissions.read(plane.ref), signal);
      return { plane, kept };
    });
  }

  async function putToRest(cluster: VirtualCluster, spec: TenantSpec, judged: Judgement, signal: AbortSignal) {
    const key = keyOfRef(refOf(cluster));
    // its pods wait from now on: nobody buys machines for them while they are given back
    leaveReady(key);
    const tenant: RestingTenant = {
      cluster,
      judged,
      admitted: () => admitted(cluster, spec, signal),
      letGo: () => held.let(key),
      puttingDown: (work) => stage(cluster, "ControlPlaneReady", signal, work),
    };
    return rest(tenant, signal);
  }

  /** Its datastore lets it in. */
  async function admitted(cluster: VirtualCluster, spec: TenantSpec, signal: AbortSignal): Promise<AdmittedPlane> {
    const access = await stage(cluster, "DatastoreReady", signal, () => datastore.admit(idOf(cluster), signal, spec.datastore));
    return stage(cluster, "ControlPlaneReady", signal, () => planeOf(cluster, spec, access));
  }

  async function planeOf(cluster: VirtualCluster, spec: TenantSpec, access: ControlPlane["datastore"]): Promise<AdmittedPlane> {
    const [ref, id, port] = [refOf(cluster), idOf(cluster), cluster.status?.port ?? 0];
    const user = isolation && cluster.status?.userID;
    const names = isolation ? hostNames(ref, isolation.domain) : [];
    const parts = {
      sans: [...commonNames(spec), ...names],
      datastore: { ca: access.ca, certificate: (days: number) => datastore.certificate(id, days) },
    };
    const { bundle, report } = await keys.keep(meant(cluster), parts, held.of(keyOfRef(ref)));
    const plane = { ref, id, spec, port, address: listen.nodes, bundle, datastore: access, ...(user === undefined ? {} : { user }) };
    return { plane, report };
  }

  /** A stopped tenant's apiserver can write no policy; the one it had as a full tenant is still there. */
  async function closeWhenFull(key: string, plane: ControlPlane): Promise<void> {
    const state = datastore.usage(plane.id)?.state;
    const one = held.of(key);
    if (one && state !== undefined && state !== "stopped") await keepFull(one.kube, state === "full");
  }

  async function remove(cluster: VirtualCluster, signal: AbortSignal): Promise<{ readonly afterMs: number } | undefined> {
    const [key, ref, id] = [keyOfRef(refOf(cluster)), refOf(cluster), idOf(cluster)];
    return tearDown(cluster, {
      kube,
      clock,
      events,
      log,
      // draining and revoking need its apiserver; after a restart of the daemon it is not attached yet
      async keepRunning() {
        const spec = await orRefusal(() => specs(cluster));
        if (spec instanceof IronwrightError || cluster.status?.port === undefined) return;
        if (held.of(key) && (await runtime.ailment(id)) === undefined) return;
        const { plane } = await planeOf(cluster, spec, await datastore.admit(id, signal, spec.datastore));
        await runtime.ensure(plane, signal);
        await way.prepare(plane, await admissions.read(ref), signal);
        await held.take(key, plane, () => admissions.read(ref), signal);
        await way.open(plane, await admissions.read(ref), signal);
        ready.set(key, ref);
        changed();
      },
      async removeControlPlane() {
        await detach(key);
        keys.forget(ref);
        sleeping.forget(id);
        await way.close(id);
        await runtime.remove(id);
      },
      removeKeys: () => datastore.remove(id, signal),
      async removeSecrets() {
        await tenantSecrets(kube, ref, cluster.metadata.uid ?? "").remove();
        await admissions.remove(ref);
      },
    });
  }

  function leaveReady(key: string): void {
    if (ready.delete(key)) changed();
  }

  async function detach(key: string): Promise<undefined> {
    leaveReady(key);
    await held.let(key);
    return undefined;
  }

  function changed(): void {
    for (const listener of listeners) listener();
  }

  function nudgePlane(id: string): void {
    const found = clusters.list().find((cluster) => idOf(cluster) === id);
    if (found) control.nudge(keyOfRef(refOf(found)));
  }

  let watch: PlaneWatch | undefined;
  const unscrape = options.metrics?.onScrape(() => {
    options.metrics?.tenantCertificateSeconds.reset();
    for (const { tenant, certificates: all } of keys.expiries()) {
      for (const { name, ends } of all)
        options.metrics?.tenantCertificateSeconds.set({ tenant, name }, (ends.getTime() - clock.now().getTime()) / 1000);
    }
  });

  return {
    list: () => [...ready.values()],
    onChange: (listener) => void listeners.push(listener),
    kube: (ref) => attachment(ref).kube,
    admit,
    noteWay,
    async revoke(ref, node) {
      await revoke(ref, node);
      needed.delete(keyOfRef(ref));
    },
    keepGivenBack: (ref, ending) => keepGivenBack(kube, ref, ending),
    async measured() {
      const cells = new Map((await supervisor.cells()).map((cell) => [cell.name, cell]));
      return new Map(
        clusters.list().flatMap((cluster) => {
          const cell = cells.get(cellName(idOf(cluster)));
          if (!cell) return [];
          const { cpuSeconds, residentBytes, swappedBytes } = cell;
          return [[tenantText(refOf(cluster)), { cpuSeconds, memoryBytes: residentBytes, swappedBytes }] as const];
        }),
      );
    },
    async start() {
      await clusters.start();
      datastore.onChange(nudgePlane);
      const onTraffic = options.metrics ? gatewayMeter(options.metrics) : () => {};
      watch = watchPlanes({ supervisor, way, clock, log, onTraffic, onChange: (cell) => nudgePlane(idOfCell(cell)) });
      // the first tenant need not wait for it; when it does not come, the tenants' conditions say so
      void datastore.start(ending.signal).catch((error: unknown) => log.warn({ err: error }, "the tenants' datastore does not answer yet"));
      control.start();
      certificates.start();
      pool.start();
    },
    async stop() {
      ending.abort(new Error("the tenant controller is stopping"));
      await Promise.all([control.stop(), certificates.stop(), clusters.stop(), pool.stop(), watch?.stop()]);
      await held.letAll();
      await datastore.close();
      unscrape?.();
    },
  };
}

/** Started from nothing at once: each keeps a core busy for seconds. */
const COLD_STARTS = 2;
const QUEUED_MS = 1_000;
/** One look in so many is at a sleeper: what happens to it is told. */
const SLEEPERS_LOOKS = 20;
const NEEDED_MS = 10 * 60_000;
/** A tenant that asks for nothing. */
const NAMELESS: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "warm", namespace: SYSTEM_NAMESPACE },
  spec: {},
};
const SERVICE_NAMES = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

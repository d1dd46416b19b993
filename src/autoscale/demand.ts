import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { type TenantRef, tenantText } from "../core/names.ts";
import {
  DAEMON_SET,
  type DaemonSet,
  type EventRecorder,
  eventRecorder,
  type Kube,
  NAMESPACE,
  type Namespace,
  NODE,
  type Node,
  PDB,
  type PersistentVolume,
  type PersistentVolumeClaim,
  POD,
  type Pod,
  type PodDisruptionBudget,
  PV,
  PVC,
  type Reflector,
  reflector,
  STORAGE_CLASS,
  type StorageClass,
} from "../kube/index.ts";
import type { TenantApis } from "./tenants.ts";
import { isFinished, isUnschedulable, type KnownTenant, storageOf } from "./world/index.ts";

/** A tenant's cluster as we watch it. */
export interface TenantView {
  readonly ref: TenantRef;
  /** `namespace.name`. */
  readonly tenant: string;
  readonly kube: Kube;
  /** Writes events into the tenant's cluster. */
  readonly events: EventRecorder;
  /** When the watch began: of what was before we know only the outcome. */
  readonly since: Date;
  node(name: string): Node | undefined;
  pod(key: string): Pod | undefined;
  known(): KnownTenant;
  /** When a pod last came to a node or left it, as far as we saw. */
  lastPodEvent(node: string): Date | undefined;
}

export type Change =
  | {
      readonly kind: "pod";
      readonly tenant: string;
      readonly key: string;
      readonly unschedulable: boolean;
      readonly nodes: readonly string[];
    }
  | { readonly kind: "node"; readonly tenant: string; readonly key: string }
  | { readonly kind: "other"; readonly tenant: string };

export interface Demand {
  start(): void;
  stop(): Promise<void>;
  /** Those whose copies are complete. */
  views(): readonly TenantView[];
  view(tenant: string): TenantView | undefined;
}

interface Watched {
  readonly kube: Kube;
  view: TenantView | undefined;
  stop(): Promise<void>;
}

const LOOK_AGAIN_MS = 10_000;

/** Follows every tenant whose control plane is ready: its pods, nodes and DaemonSets. */
export function demand(options: { tenants: TenantApis; clock: Clock; log: Logger; onChange(change: Change): void }): Demand {
  const { tenants, clock, log, onChange } = options;
  const watched = new Map<string, Watched>();
  const ending = new AbortController();
  const leaving = new Set<Promise<void>>();

  function look(): void {
    if (ending.signal.aborted) return;
    const ready = new Map(tenants.list().map((ref) => [tenantText(ref), ref]));
    for (const [tenant, one] of watched) if (!ready.has(tenant)) leave(tenant, one);
    for (const [tenant, ref] of ready) {
      try {
        const kube = tenants.kube(ref);
        const before = watched.get(tenant);
        if (before?.kube === kube) continue;
        if (before) leave(tenant, before);
        watched.set(tenant, watch(ref, kube));
      } catch (error) {
        log.debug({ tenant, reason: reasonOf(error) }, "tenant not ready after all");
      }
    }
  }

  function leave(tenant: string, one: Watched): void {
    watched.delete(tenant);
    const stopped = one.stop().finally(() => leaving.delete(stopped));
    leaving.add(stopped);
    onChange({ kind: "other", tenant });
  }

  function watch(ref: TenantRef, kube: Kube): Watched {
    const tenant = tenantText(ref);
    const where = new Map<string, string>();
    const lastEvents = new Map<string, Date>();
    let complete = false;

    function podChanged(key: string): void {
      const pod = pods.get(key);
      const before = where.get(key);
      const now = pod && !isFinished(pod) ? pod.spec.nodeName : undefined;
      if (now === undefined) where.delete(key);
      else where.set(key, now);
      const nodeNames = before === now ? [] : [before, now].filter((name) => name !== undefined);
      // the first list tells where pods are, not when they came
      if (complete) for (const name of nodeNames) lastEvents.set(name, clock.now());
      if (complete) onChange({ kind: "pod", tenant, key, unschedulable: pod !== undefined && isUnschedulable(pod), nodes: nodeNames });
    }

    const common = { kube, log: log.child({ tenant }), clock };
    const pods: Reflector<Pod> = reflector({ ...common, kind: POD, onChange: podChanged });
    const nodes: Reflector<Node> = reflector({
      ...common,
      kind: NODE,
      onChange: (key) => complete && onChange({ kind: "node", tenant, key }),
    });
    const daemonSets: Reflector<DaemonSet> = reflector({
      ...common,
      kind: DAEMON_SET,
      onChange: () => complete && onChange({ kind: "other", tenant }),
    });
    const budgets: Reflector<PodDisruptionBudget> = reflector({
      ...common,
      kind: PDB,
      onChange: () => complete && onChange({ kind: "other", tenant }),
    });
    const other = { ...common, onChange: () => complete && onChange({ kind: "other", tenant }) };
    const claims: Reflector<PersistentVolumeClaim> = reflector({ ...other, kind: PVC });
    const volumes: Reflector<PersistentVolume> = reflector({ ...other, kind: PV });
    const classes: Reflector<StorageClass> = reflector({ ...other, kind: STORAGE_CLASS });
    const namespaces: Reflector<Namespace> = reflector({ ...other, kind: NAMESPACE });
    const events = eventRecorder({ kube, component: "ironwright", clock, log });
    const all = [pods, nodes, daemonSets, budgets, claims, volumes, classes, namespaces];

    const one: Watched = {
      kube,
      view: undefined,
      async stop() {
        one.view = undefined;
        await Promise.all(all.map((each) => each.stop()));
      },
    };
    Promise.all(all.map((each) => each.start())).then(
      () => {
        for (const pod of pods.list())
          if (pod.spec.nodeName && !isFinished(pod)) where.set(`${pod.metadata.namespace}/${pod.metadata.name}`, pod.spec.nodeName);
        complete = true;
        if (watched.get(tenant) !== one) return;
        const since = clock.now();
        one.view = {
          ref,
          tenant,
          kube,
          events,
          since,
          node: (name) => nodes.get(name),
          pod: (key) => pods.get(key),
          known: () => ({
            tenant,
            pods: pods.list(),
            nodes: nodes.list(),
            daemonSets: daemonSets.list(),
            budgets: budgets.list(),
            storage: storageOf({ claims: claims.list(), volumes: volumes.list(), classes: classes.list() }),
            namespaces: namespaces.list(),
            lastPodEvents: (name) => lastEvents.get(name) ?? since,
          }),
          lastPodEvent: (name) => lastEvents.get(name),
        };
        log.info({ tenant, pods: pods.keys().length, nodes: nodes.keys().length }, "following a tenant");
        onChange({ kind: "other", tenant });
      },
      () => {},
    );
    return one;
  }

  return {
    start() {
      tenants.onChange(look);
      void (async () => {
        while (!ending.signal.aborted) {
          look();
          await clock.sleep(LOOK_AGAIN_MS, ending.signal).catch(() => {});
        }
      })();
    },
    async stop() {
      ending.abort(new Error("the autoscaler is stopping"));
      for (const [tenant, one] of watched) leave(tenant, one);
      await Promise.all(leaving);
    },
    views: () => [...watched.values()].flatMap((one) => (one.view ? [one.view] : [])),
    view: (tenant) => watched.get(tenant)?.view,
  };
}

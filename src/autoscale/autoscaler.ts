import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { LABEL_NODEPOOL, tenantText } from "../core/names.ts";
import {
  type Kind,
  MACHINE,
  MACHINE_CLASS,
  NODE_CLAIM,
  NODE_POOL,
  type NodeClaim,
  OS_IMAGE,
  type Resource,
  VIRTUAL_CLUSTER,
} from "../core/resources.ts";
import { type EventRecorder, type Kube, RESOURCE_QUOTA, type Reflector, reflector } from "../kube/index.ts";
import { type Reconciler, reconciler } from "../work/index.ts";
import type { ClaimContext } from "./claim/claim.ts";
import { reconcileClaim } from "./claim/controller.ts";
import { type Change, demand } from "./demand.ts";
import { disrupter } from "./disrupt/controller.ts";
import { reconcilePool } from "./pools.ts";
import { type PodExplanation, provisioner } from "./provision.ts";
import type { TenantApis } from "./tenants.ts";
import { driftOf, type Known, machineOf, surroundings } from "./world/index.ts";

export interface Autoscaler {
  /** Resolves when the host's objects are known; tenants follow as they become ready. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** What the last plan says of a pod (`namespace/name`) of a tenant (`namespace.name`). */
  explainPod(tenant: string, pod: string): PodExplanation | undefined;
}

export interface AutoscalerOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly tenants: TenantApis;
  readonly clock: Clock;
  readonly log: Logger;
  /** Writes events on the host control plane. */
  readonly events: EventRecorder;
}

/** A claim that was made is part of the world at once; should its watch event never come, it is forgotten after so long. */
const REMEMBERED_MS = 30_000;

/** From pods that find no node to claims on machines, and back: demand, plan, claim, disrupt. */
export function autoscaler({ kube, tenants, clock, log, events }: AutoscalerOptions): Autoscaler {
  const made = new Map<string, { readonly claim: NodeClaim; readonly at: number }>();

  const follow = <T extends Resource>(kind: Kind<T>, onChange: (key: string) => void): Reflector<T> =>
    reflector({ kube, kind, log, clock, onChange });
  const machines = follow(MACHINE, (key) => {
    nudgeClaims((claim) => machineOf(claim) === key);
    provision.nudge("other");
  });
  const claims = follow(NODE_CLAIM, (key) => {
    const seen = claims.get(key);
    if (seen?.metadata.uid === made.get(key)?.claim.metadata.uid) made.delete(key);
    claimLoop.nudge(key);
    nudgePools();
    provision.nudge("other");
    disrupt.nudge();
  });
  const pools = follow(NODE_POOL, (key) => {
    poolLoop.nudge(key);
    nudgeClaims((claim) => claim.metadata.ownerReferences?.some((owner) => owner.name === key) ?? false);
    provision.nudge("other");
    disrupt.nudge();
  });
  const poolsMatter = () => {
    nudgePools();
    nudgeClaims(() => true);
    provision.nudge("other");
  };
  const classes = follow(MACHINE_CLASS, poolsMatter);
  const images = follow(OS_IMAGE, poolsMatter);
  const clusters = follow(VIRTUAL_CLUSTER, poolsMatter);
  const quotas = follow(RESOURCE_QUOTA, () => provision.nudge("other"));
  const reflectors = [machines, claims, pools, classes, images, clusters, quotas];

  const views = demand({ tenants, clock, log, onChange: tenantChanged });

  function tenantChanged(change: Change): void {
    if (change.kind === "pod") {
      if (change.unschedulable) provision.nudge("pod");
      else provision.nudge("other");
      if (change.nodes.length > 0) nudgeClaims((claim) => change.nodes.includes(machineOf(claim) ?? ""));
    } else {
      nudgeClaims((claim) => change.kind === "other" || machineOf(claim) === change.key);
      provision.nudge("other");
    }
    disrupt.nudge();
  }

  function known(): Known {
    const now = clock.now();
    for (const [name, { at }] of made) if (now.getTime() - at > REMEMBERED_MS) made.delete(name);
    const seen = claims.list();
    const names = new Set(seen.map((claim) => claim.metadata.name));
    return {
      machines: machines.list(),
      claims: [...seen, ...[...made.values()].map((one) => one.claim).filter((claim) => !names.has(claim.metadata.name))],
      pools: pools.list(),
      classes: classes.list(),
      images: images.list(),
      clusters: clusters.list(),
      tenants: views.views().map((view) => view.known()),
      quotas: quotas.list(),
      now,
    };
  }

  const context: ClaimContext = {
    kube,
    tenants,
    clock,
    log,
    events,
    view: (tenant) => views.view(tenant),
    machine: (name) => machines.get(name),
    pool: (name) => pools.get(name),
    cluster: (ref) => clusters.get(`${ref.namespace}/${ref.name}`),
    drift(claim) {
      const machineClass = classes.get(claim.spec.nodeClassRef.name);
      const image = machineClass && images.get(machineClass.spec.image);
      const pool = pools.get(claim.metadata.labels?.[LABEL_NODEPOOL] ?? "");
      const machine = machines.get(machineOf(claim) ?? "");
      return driftOf(claim, {
        ...(pool ? { pool } : {}),
        ...(machineClass ? { machineClass } : {}),
        ...(image ? { image } : {}),
        ...(machine ? { machine } : {}),
      });
    },
  };

  const claimLoop: Reconciler = reconciler({
    name: "nodeclaims",
    log,
    clock,
    // a step may wait for its tenant's apiserver, and a tenant can make it wait
    concurrency: 64,
    keys: () => claims.keys(),
    async reconcile(key) {
      const claim = claims.get(key);
      return claim ? reconcileClaim(claim, context) : undefined;
    },
  });
  const poolLoop: Reconciler = reconciler({
    name: "nodepools",
    log,
    clock,
    concurrency: 2,
    keys: () => pools.keys(),
    async reconcile(key) {
      const pool = pools.get(key);
      const around = surroundings({ classes: classes.list(), images: images.list(), clusters: clusters.list() });
      if (pool && !pool.metadata.deletionTimestamp) await reconcilePool(pool, { kube, clock, around, claims: claims.list() });
      return undefined;
    },
  });
  const view = (tenant: string) => views.view(tenant);
  const created = (claim: NodeClaim) => void made.set(claim.metadata.name, { claim, at: clock.now().getTime() });
  const provision = provisioner({ kube, clock, log, events, known, view, created });
  const disrupt = disrupter({ kube, clock, log, events, known, view, created });

  function nudgeClaims(which: (claim: NodeClaim) => boolean): void {
    for (const claim of claims.list()) if (which(claim)) claimLoop.nudge(claim.metadata.name);
  }

  function nudgePools(): void {
    for (const key of pools.keys()) poolLoop.nudge(key);
  }

  return {
    async start() {
      await Promise.all(reflectors.map((one) => one.start()));
      poolLoop.start();
      claimLoop.start();
      views.start();
      provision.start();
      disrupt.start();
      log.info(
        { machines: machines.keys().length, claims: claims.keys().length, tenants: tenants.list().map(tenantText) },
        "autoscaler started",
      );
    },
    async stop() {
      await Promise.all([provision.stop(), disrupt.stop()]);
      await Promise.all([claimLoop.stop(), poolLoop.stop()]);
      await views.stop();
      await Promise.all(reflectors.map((one) => one.stop()));
    },
    explainPod: (tenant, pod) => provision.explain(tenant, pod),
  };
}

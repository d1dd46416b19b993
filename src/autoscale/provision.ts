import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { isError, reasonOf } from "../core/errors.ts";
import { ANNOTATION_MACHINE, FINALIZER_CLAIM, LABEL_INSTANCE_TYPE, LABEL_NODEPOOL, LABEL_SITE, LABEL_TENANT } from "../core/names.ts";
import { formatResources } from "../core/quantity.ts";
import { type Machine, NODE_CLAIM, NODE_POOL, type NodeClaim, type NodePool } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import type { TenantView } from "./demand.ts";
import { type Plan, type PlannedClaim, plan, type Refusal } from "./plan/index.ts";
import { ANNOTATION_ORDER, type Known, worldOf } from "./world/index.ts";

/** A batch of pods ends when none came for so long … */
const IDLE_MS = 1_000;
/** … or after so long in all. */
const MOST_MS = 10_000;
const LOOK_AGAIN_MS = 10_000;
/** Events a refusal or a placement writes at most: a thousand equal pods are one piece of news. */
const MOST_EVENTS = 20;

export interface Provisioner {
  start(): void;
  /** `pod`: more of the same may follow, the batch waits for it. */
  nudge(what: "pod" | "other"): void;
  stop(): Promise<void>;
  /** What the last plan says of a pod. */
  explain(tenant: string, pod: string): PodExplanation | undefined;
}

export interface PodExplanation {
  readonly at: Date;
  /** The node it is expected on; `planned` when it was claimed for it just then. */
  readonly placed?: { readonly node: string; readonly planned: boolean };
  readonly refusal?: Refusal;
}

export interface ProvisionerOptions {
  readonly kube: Kube;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  known(): Known;
  view(tenant: string): TenantView | undefined;
  /** The claim was made: it is part of the world before any watch says so. */
  created(claim: NodeClaim): void;
}

/** Turns demand into claims: waits for a batch of pods to be complete, plans, writes the claims. */
export function provisioner(options: ProvisionerOptions): Provisioner {
  const { clock, log } = options;
  const ending = new AbortController();
  let wake = new AbortController();
  let pods = 0;
  let due = true;
  let last: { readonly plan: Plan; readonly at: Date } | undefined;
  const told = new Map<string, string>();
  let running: Promise<void> | undefined;

  async function loop(): Promise<void> {
    while (!ending.signal.aborted) {
      if (!due) await clock.sleep(LOOK_AGAIN_MS, AbortSignal.any([ending.signal, wake.signal])).catch(() => {});
      if (ending.signal.aborted) return;
      await batch();
      due = false;
      wake = new AbortController();
      await round().catch((error: unknown) => {
        log.warn({ reason: reasonOf(error) }, "provisioning failed; it is tried again");
      });
    }
  }

  async function batch(): Promise<void> {
    const opened = clock.now().getTime();
    let seen: number;
    do {
      seen = pods;
      await clock.sleep(IDLE_MS, ending.signal).catch(() => {});
    } while (seen !== pods && clock.now().getTime() - opened < MOST_MS && !ending.signal.aborted);
  }

  async function round(): Promise<void> {
    const known = options.known();
    const decided = plan(worldOf(known));
    last = { plan: decided, at: known.now };
    const names = new Map<string, string>();
    for (const [nth, claim] of decided.claims.entries()) {
      if (ending.signal.aborted) return;
      const made = await create(claim, nth, known, options);
      if (made) names.set(`${claim.tenant}/${claim.machine}`, made);
    }
    tell(decided, names);
  }

  function tell(decided: Plan, names: ReadonlyMap<string, string>): void {
    const waiting = new Set<string>();
    const say = (tenant: string, keys: readonly string[], type: "Normal" | "Warning", reason: string, message: string) => {
      for (const key of keys) waiting.add(`${tenant}/${key}`);
      if (told.get(`${tenant}/${keys[0]}`) !== message) log.info({ tenant, pods: keys.length, first: keys[0], reason }, message);
      for (const key of keys.slice(0, MOST_EVENTS)) {
        const pod = options.view(tenant)?.pod(key);
        if (!pod || pod.spec.nodeName || told.get(`${tenant}/${key}`) === message) continue;
        told.set(`${tenant}/${key}`, message);
        options.view(tenant)?.events.record(pod, type, reason, message);
      }
    };
    for (const { tenant, node, pods: keys, planned } of decided.placements) {
      if (planned && !names.has(`${tenant}/${node}`)) continue;
      say(tenant, keys, "Normal", "Nominated", `Pod should schedule on machine ${node}`);
    }
    for (const { tenant, pods: keys, reason } of decided.refusals) {
      say(tenant, keys, "Warning", "FailedScheduling", `No machine for this pod: ${reason}`);
    }
    for (const key of told.keys()) if (!waiting.has(key)) told.delete(key);
  }

  return {
    start() {
      running ??= loop();
    },
    nudge(what) {
      if (what === "pod") pods += 1;
      due = true;
      wake.abort();
    },
    async stop() {
      ending.abort(new Error("the autoscaler is stopping"));
      await running;
    },
    explain: (tenant, pod) => last && explanation(last, tenant, pod),
  };
}

function explanation({ plan: decided, at }: { plan: Plan; at: Date }, tenant: string, pod: string): PodExplanation | undefined {
  const placement = decided.placements.find((one) => one.tenant === tenant && one.pods.includes(pod));
  if (placement) return { at, placed: { node: placement.node, planned: placement.planned } };
  const refusal = decided.refusals.find((one) => one.tenant === tenant && one.pods.includes(pod));
  return refusal && { at, refusal };
}

/** @returns the claim's name, or nothing when it could not be made now */
async function create(planned: PlannedClaim, nth: number, known: Known, options: ProvisionerOptions): Promise<string | undefined> {
  const pool = known.pools.find((one) => one.metadata.name === planned.pool);
  const machine = known.machines.find((one) => one.metadata.name === planned.machine);
  if (!pool || !machine) return undefined;
  const object = claimObject(planned, nth, pool, machine, known.now);
  try {
    const claim = await options.kube.create(NODE_CLAIM, object);
    options.created(claim);
    options.log.info(
      { claim: claim.metadata.name, machine: planned.machine, tenant: planned.tenant, pool: planned.pool },
      "claimed a machine",
    );
    options.events.record(claim, "Normal", "Planned", `machine ${planned.machine} for ${planned.tenant}`);
    return claim.metadata.name;
  } catch (error) {
    // the name is this machine's and this turn's: the claim exists, the watch is about to say so
    if (isError(error, "IRW_KUBE_CONFLICT")) return object.metadata.name;
    options.log.warn({ claim: object.metadata.name, machine: planned.machine, reason: reasonOf(error) }, "a claim could not be made");
    return undefined;
  }
}

/** Keys a NodeClaim may ask for besides its pool's own: the schema refuses others of these domains. */
const CLAIM_KEYS: ReadonlySet<string> = new Set([
  LABEL_NODEPOOL,
  LABEL_INSTANCE_TYPE,
  LABEL_SITE,
  "kubernetes.io/arch",
  "kubernetes.io/os",
  "karpenter.sh/capacity-type",
]);

function claimObject(planned: PlannedClaim, nth: number, pool: NodePool, machine: Machine, now: Date): NodeClaim {
  const { spec: template, metadata } = pool.spec.template;
  const own = new Set((template.requirements ?? []).map((one) => one.key));
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: {
      name: claimName(pool, machine),
      labels: { ...planned.labels, [LABEL_TENANT]: planned.tenant },
      annotations: {
        ...metadata?.annotations,
        [ANNOTATION_MACHINE]: planned.machine,
        [ANNOTATION_ORDER]: `${now.toISOString()}/${String(nth).padStart(4, "0")}`,
      },
      finalizers: [FINALIZER_CLAIM],
      ownerReferences: [
        {
          apiVersion: "karpenter.sh/v1",
          kind: NODE_POOL.kind,
          name: pool.metadata.name,
          uid: pool.metadata.uid ?? "",
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      nodeClassRef: template.nodeClassRef,
      requirements: planned.requirements.filter((one) => CLAIM_KEYS.has(one.key) || own.has(one.key)),
      resources: { requests: formatResources(planned.requests) },
      ...(planned.taints.length > 0 ? { taints: planned.taints } : {}),
      ...(planned.startupTaints.length > 0 ? { startupTaints: planned.startupTaints } : {}),
      ...(template.expireAfter === undefined ? {} : { expireAfter: template.expireAfter }),
      ...(template.terminationGracePeriod === undefined ? {} : { terminationGracePeriod: template.terminationGracePeriod }),
    },
  };
}

/**
 * One name for one turn of one machine in one pool: writing a claim twice, after a lost answer or by a second daemon,
 * meets the first. Every installation and release moves the fence, so names do not come back.
 */
function claimName(pool: NodePool, machine: Machine): string {
  const turn = JSON.stringify([pool.metadata.uid, machine.metadata.uid, machine.status?.operation?.fence ?? 0]);
  const hash = BigInt(`0x${createHash("sha256").update(turn).digest("hex").slice(0, 12)}`);
  return `${pool.metadata.name}-${hash.toString(36).slice(-5).padStart(5, "0")}`;
}

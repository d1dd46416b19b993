import { parseDuration } from "../../core/duration.ts";
import { TAINT_DISRUPTED } from "../../core/names.ts";
import type { NodeClaim } from "../../core/resources.ts";
import { type Kube, keyOf, NODE, type Node, POD, type Pod } from "../../kube/index.ts";
import { tolerates } from "../plan/index.ts";
import { isWorkload } from "../world/index.ts";

const DISRUPTED = { key: TAINT_DISRUPTED, effect: "NoSchedule" } as const;
const DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt";
/** From here on pods are the cluster's own: they go last. */
const CRITICAL_PRIORITY = 2_000_000_000;
/** A pod that should have ended so long ago will not be ended by its kubelet: the node is dead. */
const STUCK_MS = 60_000;
const DEFAULT_GRACE_S = 30;

/** When the node goes whatever runs on it; undefined when it waits for ever. */
export function deadlineOf(claim: NodeClaim): Date | undefined {
  const grace = parseDuration(claim.spec.terminationGracePeriod ?? "Never");
  const since = Date.parse(claim.metadata.deletionTimestamp ?? "");
  return grace === undefined || !Number.isFinite(grace) || Number.isNaN(since) ? undefined : new Date(since + grace);
}

export interface DrainStep {
  /** To be evicted now: all of one rank, the less important first. */
  readonly evict: readonly Pod[];
  /** To be deleted now, whatever budgets say: the deadline leaves them just their own grace. */
  readonly remove: readonly { readonly pod: Pod; readonly graceSeconds: number }[];
  /** Still there; empty when the node is drained. */
  readonly waiting: readonly Pod[];
}

/** What to do next about the pods of a node that goes. Pure. */
export function drainStep(pods: readonly Pod[], now: Date, deadline: Date | undefined): DrainStep {
  const waiting = pods.filter((pod) => drains(pod) && !isStuck(pod, now));
  const staying = waiting.filter((pod) => !pod.metadata.deletionTimestamp);
  const overdue = deadline === undefined ? [] : staying.filter((pod) => deadline.getTime() - graceMs(pod) <= now.getTime());
  const left = staying.filter((pod) => !overdue.includes(pod));
  const ordinary = left.filter((pod) => (pod.spec.priority ?? 0) < CRITICAL_PRIORITY);
  const first = waiting.some((pod) => (pod.spec.priority ?? 0) < CRITICAL_PRIORITY) ? ordinary : left;
  const leftMs = Math.max(0, (deadline?.getTime() ?? 0) - now.getTime());
  return {
    evict: first.filter((pod) => pod.metadata.annotations?.[DO_NOT_DISRUPT] !== "true"),
    remove: overdue.map((pod) => ({ pod, graceSeconds: Math.min(Math.floor(leftMs / 1_000), graceMs(pod) / 1_000) })),
    waiting,
  };
}

/** Daemons and static pods end with the node; who tolerates the taint asked to stay until then. */
function drains(pod: Pod): boolean {
  return isWorkload(pod) && !(pod.spec.tolerations ?? []).some((one) => tolerates(one, DISRUPTED));
}

function graceMs(pod: Pod): number {
  return (pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1_000;
}

function isStuck(pod: Pod, now: Date): boolean {
  // deletionTimestamp is when the pod should be gone, its grace included
  const due = Date.parse(pod.metadata.deletionTimestamp ?? "");
  return now.getTime() - due > STUCK_MS;
}

/** Keeps the scheduler away from a node that goes. */
export async function taintDisrupted(tenant: Kube, node: Node): Promise<void> {
  const taints = node.spec.taints ?? [];
  if (taints.some((taint) => taint.key === DISRUPTED.key)) return;
  await tenant.patch(NODE, node.metadata.name, undefined, {
    metadata: { resourceVersion: node.metadata.resourceVersion },
    spec: { taints: [...taints, DISRUPTED] },
  });
}

/** Carries a step out; returns the pods a disruption budget keeps. */
export async function carryOut(tenant: Kube, step: DrainStep): Promise<string[]> {
  const blocked: string[] = [];
  for (const pod of step.evict) {
    const { name, namespace = "", uid } = pod.metadata;
    const answer = await tenant.evict(namespace, name, uid === undefined ? {} : { uid });
    if (answer === "blocked") blocked.push(keyOf(pod));
  }
  for (const { pod, graceSeconds } of step.remove) {
    const { name, namespace = "", uid } = pod.metadata;
    await tenant.delete(POD, name, { namespace, gracePeriodSeconds: graceSeconds, ...(uid === undefined ? {} : { uid }) });
  }
  return blocked;
}

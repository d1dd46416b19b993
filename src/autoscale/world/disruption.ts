import { createHash } from "node:crypto";
import { condition, isTrue } from "../../core/conditions.ts";
import { parseDuration } from "../../core/duration.ts";
import { conflict, matchesSelector, requirementsOf, requirementsOfLabels } from "../../core/requirements.ts";
import type { Machine, MachineClass, NodeClaim, NodePool, OSImage } from "../../core/resources.ts";
import type { Node, Pod, PodDisruptionBudget } from "../../kube/index.ts";
import { DEFAULT_BUDGETS, type NodeSupply, type PoolDisruption, type RunningPod } from "../plan/index.ts";

const DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt";
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
/** On a NodeClaim: what its pool's template was when it was made. */
export const ANNOTATION_POOL_HASH = "karpenter.sh/nodepool-hash";

/** How a pool's nodes may be disturbed, by its own fields and Karpenter's defaults; what cannot be read disturbs nobody. */
export function poolDisruption(pool: NodePool): PoolDisruption {
  const { consolidationPolicy = "WhenEmptyOrUnderutilized", consolidateAfter = "0s", budgets } = pool.spec.disruption ?? {};
  const afterMs = parseDuration(consolidateAfter);
  return {
    policy: consolidationPolicy,
    consolidateAfterS: afterMs === undefined || !Number.isFinite(afterMs) ? "never" : afterMs / 1_000,
    budgets: (budgets ?? DEFAULT_BUDGETS).map((budget) => ({
      nodes: budget.nodes,
      ...(budget.reasons ? { reasons: budget.reasons } : {}),
      ...("schedule" in budget && budget.schedule !== undefined ? { schedule: budget.schedule } : {}),
      ...("duration" in budget && budget.duration !== undefined ? { durationS: secondsOf(budget.duration) ?? Number.NaN } : {}),
    })),
    ...lifetimes(pool.spec.template.spec),
  };
}

function lifetimes(spec: { readonly expireAfter?: string; readonly terminationGracePeriod?: string }) {
  const expireAfterS = secondsOf(spec.expireAfter);
  const terminationGracePeriodS = secondsOf(spec.terminationGracePeriod);
  return {
    ...(expireAfterS === undefined || !Number.isFinite(expireAfterS) ? {} : { expireAfterS }),
    ...(terminationGracePeriodS === undefined ? {} : { terminationGracePeriodS }),
  };
}

function secondsOf(text: string | undefined): number | undefined {
  const ms = parseDuration(text ?? "");
  return ms === undefined ? undefined : ms / 1_000;
}

/** `true`, or a duration that has not run out since the start. */
function isProtected(annotations: Readonly<Record<string, string>> | undefined, ageS: number): boolean {
  const value = annotations?.[DO_NOT_DISRUPT];
  if (value === undefined || value === "true") return value === "true";
  const lastsS = secondsOf(value);
  return lastsS !== undefined && ageS < lastsS;
}

function ageOf(since: string | undefined, now: Date): number | undefined {
  const ms = Date.parse(since ?? "");
  return Number.isNaN(ms) ? undefined : Math.max(0, (now.getTime() - ms) / 1_000);
}

/** What of a running pod says whether and how dearly it may be disturbed. */
export function podDisruption(pod: Pod, budgets: readonly PodDisruptionBudget[], now: Date): Partial<RunningPod> {
  const ageS = ageOf(pod.status?.startTime ?? pod.metadata.creationTimestamp, now);
  const mine = budgets.filter(
    (one) =>
      one.metadata.namespace === pod.metadata.namespace &&
      // policy/v1: an empty selector means every pod, none means none
      one.spec.selector !== undefined &&
      matchesSelector(one.spec.selector, pod.metadata.labels ?? {}),
  );
  const [first] = mine;
  const blockedBy =
    mine.length > 1 ? `${mine.length} disruption budgets at once` : first && !isAllowed(first) ? first.metadata.name : undefined;
  const cost = Number.parseInt(pod.metadata.annotations?.[DELETION_COST] ?? "", 10);
  return {
    ...(ageS === undefined ? {} : { ageS }),
    ...(blockedBy === undefined ? {} : { blockedBy }),
    ...(isProtected(pod.metadata.annotations, ageS ?? 0) ? { doNotDisrupt: true } : {}),
    ...(Number.isNaN(cost) ? {} : { deletionCost: cost }),
  };
}

/** A budget its controller has not judged yet lets nobody go. */
function isAllowed(budget: PodDisruptionBudget): boolean {
  return (budget.status?.disruptionsAllowed ?? 0) > 0;
}

/** What a node's claim says of its time. @param quiet when a pod last came or went, as far as anybody saw */
export function nodeDisruption(
  claim: NodeClaim,
  node: Node | undefined,
  quiet: Date | undefined,
  empty: boolean,
  now: Date,
): Partial<NodeSupply> {
  const ageS = ageOf(claim.metadata.creationTimestamp, now);
  const events = [
    claim.status?.lastPodEventTime,
    condition(claim.status?.conditions, "Initialized")?.lastTransitionTime,
    quiet?.toISOString(),
  ];
  const ages = events.map((one) => ageOf(one, now)).filter((one) => one !== undefined);
  const quietForS = ages.length > 0 ? Math.min(...ages) : 0;
  const drifted = condition(claim.status?.conditions, "Drifted");
  const isKept = [claim, node].some((one) => isProtected(one?.metadata.annotations, ageS ?? 0));
  return {
    ...(ageS === undefined ? {} : { ageS }),
    quietForS,
    ...(empty ? { emptyForS: quietForS } : {}),
    ...(drifted && isTrue([drifted], "Drifted")
      ? { drifted: drifted.message || drifted.reason, driftedForS: ageOf(drifted.lastTransitionTime, now) ?? 0 }
      : {}),
    ...(isKept ? { doNotDisrupt: true } : {}),
    ...lifetimes(claim.spec),
  };
}

/** What a pool makes its nodes of, but for requirements: those are compared one by one. */
export function poolHash(pool: NodePool): string {
  const { metadata, spec } = pool.spec.template;
  const { requirements: _, ...rest } = spec;
  return createHash("sha256")
    .update(stable([metadata ?? {}, rest]))
    .digest("hex")
    .slice(0, 16);
}

/** The same text whatever the order of an object's keys. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === "object" && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

export interface Drift {
  /** CamelCase, as Karpenter's where it has one. */
  readonly reason: string;
  readonly message: string;
}

/** Why a claim is not what would be made of it today; nothing when it is, or when nobody can tell. */
export function driftOf(
  claim: NodeClaim,
  of: { readonly pool?: NodePool; readonly machineClass?: MachineClass; readonly image?: OSImage; readonly machine?: Machine },
): Drift | undefined {
  const { pool, machineClass, image, machine } = of;
  const hash = claim.metadata.annotations?.[ANNOTATION_POOL_HASH];
  if (pool && hash !== undefined && hash !== poolHash(pool))
    return { reason: "NodePoolDrifted", message: `the template of pool ${pool.metadata.name} has changed` };
  const labels = requirementsOfLabels(claim.metadata.labels ?? {});
  const wanted = new Map([...requirementsOf(pool?.spec.template.spec.requirements ?? [])].filter(([key]) => labels.has(key)));
  const key = conflict(labels, wanted);
  if (key !== undefined) return { reason: "RequirementsDrifted", message: `its pool wants another ${key}` };
  const selector = machineClass?.spec.selector?.matchLabels ?? {};
  if (machine && Object.entries(selector).some(([name, value]) => machine.metadata.labels?.[name] !== value))
    return { reason: "MachineClassDrifted", message: `class ${machineClass?.metadata.name} selects the machine no longer` };
  const written = machine?.status?.imageSha256;
  if (image && written !== undefined && written !== image.spec.sha256)
    return { reason: "ImageDrifted", message: `its class installs another image: ${image.metadata.name}` };
  return undefined;
}

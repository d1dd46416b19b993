import type { NodeSupply, RunningPod } from "./world.ts";

/**
 * Which nodes must go so that somebody else gets their machines: those that are only planned, then idle ones before busy ones; those whose pods let
 * themselves be moved before those that only their grace period ends; the lowest priority; those that break no gang before
 * those that do, and these gang by gang; then the newest, then by name. No more of them than needed. What has run for less than the minimum runtime stays.
 */
export interface Victim {
  readonly tenant: string;
  readonly node: Pick<NodeSupply, "name" | "ageS">;
  /** This plan gave it to its tenant: nothing runs there yet. */
  readonly planned?: true;
  /** In the unit of its tenant's quota. */
  readonly amount: number;
  readonly idle: boolean;
  /** Its pods object to being moved; the node's grace period ends that. */
  readonly forced: boolean;
  /** The highest of its pods, and of those that lose their place with them. */
  readonly priority: number;
  /** The gangs that cannot go on without it, and the age of the youngest node they are on. */
  readonly breaks?: { readonly gangs: string; readonly ageS: number };
}

/** How long a node must have been empty for others to take it: pods nominated to it arrive sooner. */
const SETTLED_S = 20;

export interface Protection {
  readonly minRuntimeS: number;
  /** Pods below this count as nothing that runs. */
  readonly expendableBelow: number;
  /** Of the node or its pool; without one, objections hold. */
  readonly graceS?: number;
}

/** Why a node is no victim, or what it is as one. */
export function judged(
  node: NodeSupply,
  { minRuntimeS, expendableBelow, graceS }: Protection,
): string | Omit<Victim, "tenant" | "amount" | "planned" | "breaks"> {
  if (node.leaving) return "on its way out";
  const pods = (node.pods ?? []).filter((pod) => pod.priority >= expendableBelow);
  const idle = pods.length === 0 && node.initialized && (node.emptyForS ?? SETTLED_S) >= SETTLED_S;
  if (!idle && Math.min(...runtimes(node, pods)) < minRuntimeS) return "minimum runtime";
  const objection = node.doNotDisrupt ? "do-not-disrupt" : objectionOf(pods);
  if (objection !== undefined && graceS === undefined) return objection;
  const priority = Math.max(Number.NEGATIVE_INFINITY, ...pods.map((pod) => pod.priority));
  return { node, idle, forced: objection !== undefined, priority };
}

function runtimes(node: NodeSupply, pods: readonly RunningPod[]): number[] {
  const age = node.ageS ?? Number.POSITIVE_INFINITY;
  return pods.length === 0 ? [age] : pods.map((pod) => Math.min(pod.ageS ?? age, age));
}

function objectionOf(pods: readonly RunningPod[]): string | undefined {
  if (pods.some((pod) => pod.doNotDisrupt)) return "do-not-disrupt";
  const blocked = pods.find((pod) => pod.blockedBy !== undefined);
  return blocked && `disruption budget ${blocked.blockedBy}`;
}

export function victimOrder(a: Victim, b: Victim): number {
  return (
    Number(b.planned ?? false) - Number(a.planned ?? false) ||
    Number(b.idle) - Number(a.idle) ||
    Number(a.forced) - Number(b.forced) ||
    byNumber(a.priority, b.priority) ||
    byGangs(a, b) ||
    (a.node.ageS ?? 0) - (b.node.ageS ?? 0) ||
    byText(a.tenant, b.tenant) ||
    byText(a.node.name, b.node.name)
  );
}

/** A gang that loses one node gives up all of them: a second node of it costs nothing more. */
function byGangs({ breaks: a }: Victim, { breaks: b }: Victim): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  return byNumber(a.ageS, b.ageS) || byText(a.gangs, b.gangs);
}

/** What a tenant may lose, in the unit of its quota: of its busy nodes only what it borrowed, of its idle ones what it lends. */
export interface Allowance {
  readonly busy: number;
  readonly idle: number;
}

/**
 * The first victims in order that are enough, without those that turn out not to be needed: the least replaceable stay first.
 * @param enough must stay true when there are more
 * @param may whether one may be taken besides those it was asked about before and did not refuse
 */
export function leastVictims(
  candidates: readonly Victim[],
  allowance: (tenant: string) => Allowance,
  enough: (victims: readonly Victim[]) => boolean,
  may: (victim: Victim) => boolean = () => true,
): readonly Victim[] | undefined {
  const allowed = within([...candidates].sort(victimOrder), allowance, may);
  if (!enough(allowed)) return undefined;
  let low = 0;
  for (let high = allowed.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (enough(allowed.slice(0, middle))) high = middle;
    else low = middle + 1;
  }
  let chosen = allowed.slice(0, low);
  for (let at = chosen.length - 2; at >= 0; at -= 1) {
    const fewer = chosen.filter((_, n) => n !== at);
    if (enough(fewer)) chosen = fewer;
  }
  return chosen;
}

/** In order, as long as their tenants may lose them. */
function within(victims: readonly Victim[], allowance: (tenant: string) => Allowance, may: (victim: Victim) => boolean): Victim[] {
  const lost = new Map<string, number>();
  return victims.filter((victim) => {
    const { tenant, amount, idle } = victim;
    const after = (lost.get(tenant) ?? 0) + amount;
    const most = allowance(tenant);
    if (after > (idle ? most.idle : most.busy) || !may(victim)) return false;
    lost.set(tenant, after);
    return true;
  });
}

function byNumber(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether some victims are better than others: fewer; then of lower priority; then of fewer gangs. */
export function lighter(a: readonly Victim[], b: readonly Victim[]): boolean {
  const highest = (list: readonly Victim[]) => Math.max(Number.NEGATIVE_INFINITY, ...list.map((one) => one.priority));
  const gangs = (list: readonly Victim[]) => new Set(list.flatMap((one) => one.breaks?.gangs ?? [])).size;
  const order = a.length - b.length || byNumber(highest(a), highest(b)) || gangs(a) - gangs(b);
  return order < 0;
}

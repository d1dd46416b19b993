import type { PodKind } from "./kinds.ts";
import { order } from "./order.ts";
import type { Quotas } from "./quotas.ts";
import { type Candidate, choiceOf, tenantOf } from "./reclaim-candidates.ts";
import type { Left, Turn } from "./turn.ts";

/** A node that nothing may take now. */
export interface Held extends Pick<Candidate, "tenant" | "turn" | "machine" | "lot" | "amount" | "priority"> {
  /** What keeps it. */
  readonly reason: string;
}

/** Nodes that are held alike: for one reason, of one tenant, on machines of one lot. */
export interface HeldAlike {
  readonly first: Held;
  readonly count: number;
}

export function alike(held: readonly Held[]): HeldAlike[] {
  const groups = new Map<string, { first: Held; count: number }>();
  const lots = new Map<Held["lot"], number>();
  for (const one of held) {
    const lot = lots.get(one.lot) ?? lots.size;
    lots.set(one.lot, lot);
    const key = `${one.tenant} ${lot} ${one.priority} ${one.reason}`;
    const group = groups.get(key);
    if (group) group.count += 1;
    else groups.set(key, { first: one, count: 1 });
  }
  return [...groups.values()];
}

/** Says of what waits which machines it would have got, but for what protects those that have them; as far as the work budget goes. */
export function withHeld(turn: Turn, left: Left, held: readonly HeldAlike[], quotas: Quotas): Left {
  if (!left.kind.request || left.kind.priority < turn.goal.expendableBelow) return left;
  if (left.kind.gang === undefined && !quotas.owns(turn.cluster, [])) return left;
  const counts = new Map<string, number>();
  for (const { first, count } of held) {
    turn.goal.work.done += 1;
    if (turn.goal.work.done > turn.pass.work) return left;
    if (!wouldTake(turn, left.kind, first, quotas)) continue;
    const text = `held by ${first.tenant}: ${first.reason}`;
    counts.set(text, (counts.get(text) ?? 0) + count);
  }
  if (counts.size === 0) return left;
  return { ...left, held: [...counts].sort(([a], [b]) => order(a, b)).map(([text, count]) => `${count} ${text}`) };
}

/** As the rules of reclaim say: an owner what it lent, a gang what ranks lower in its own tenant. */
function wouldTake(turn: Turn, kind: PodKind, one: Held, quotas: Quotas): boolean {
  if (one.turn === turn) return kind.gang !== undefined && one.priority < kind.priority && choiceOf(turn, kind, one) !== undefined;
  const { shares } = quotas;
  if (!one.machine || one.amount > shares.excess(one.tenant) || !shares.sameCohort(one.tenant, tenantOf(turn))) return false;
  return choiceOf(turn, kind, one) !== undefined && quotas.owns(turn.cluster, [one.machine]);
}

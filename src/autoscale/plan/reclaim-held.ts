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

/** Says of what waits which machines it would have got, but for what protects those that have them. */
export function withHeld(turn: Turn, left: Left, held: readonly Held[], quotas: Quotas): Left {
  if (!left.kind.request || left.kind.priority < turn.goal.expendableBelow) return left;
  const counts = new Map<string, number>();
  for (const one of held) {
    if (!wouldTake(turn, left.kind, one, quotas)) continue;
    const text = `held by ${one.tenant}: ${one.reason}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
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

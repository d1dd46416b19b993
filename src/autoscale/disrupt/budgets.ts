import type { NodePool } from "../../core/resources.ts";

export type Budgets = NonNullable<NonNullable<NodePool["spec"]["disruption"]>["budgets"]>;

/** Karpenter's, when a pool names none. */
const DEFAULT: Budgets = [{ nodes: "10%" }];

/**
 * How many of a pool's nodes may be on their way out at once for a reason: the tightest budget that concerns it.
 * Percentages are of the pool's nodes, rounded up. A budget with a schedule holds at all times: schedules only ever
 * forbid more, and one that is not evaluated must not allow more.
 */
export function allowed(budgets: Budgets | undefined, reason: string, nodes: number): number {
  const concerned = (budgets ?? DEFAULT).filter((budget) => budget.reasons === undefined || budget.reasons.includes(reason));
  return Math.min(nodes, ...concerned.map((budget) => count(budget.nodes, nodes)));
}

function count(text: string, nodes: number): number {
  const number = Number.parseInt(text, 10);
  // what is not a number allows nothing
  if (!Number.isFinite(number) || number < 0) return 0;
  return text.endsWith("%") ? Math.ceil((nodes * number) / 100) : number;
}

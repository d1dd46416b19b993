import { parseSchedule } from "../../core/schedule.ts";
import type { Budget } from "./world.ts";

/** Karpenter's, when a pool names none. */
export const DEFAULT_BUDGETS: readonly Budget[] = [{ nodes: "10%" }];

/**
 * How many of a pool's `nodes` may be on their way out at once for a reason, at `now` (seconds since 1970): what the
 * tightest budget says that concerns the reason and holds now. A budget that cannot be read allows nothing, and so does
 * one with a schedule when nobody says what time it is.
 */
export function allowedBy(budgets: readonly Budget[], reason: string, nodes: number, now: number | undefined): number {
  const concerned = budgets.filter((budget) => budget.reasons === undefined || budget.reasons.includes(reason));
  return Math.min(nodes, ...concerned.map((budget) => most(budget, nodes, now)));
}

/** When a budget begins or ends to hold next (seconds since 1970): when to look again. */
export function nextChange(budgets: readonly Budget[], now: number): number | undefined {
  const changes = budgets.flatMap(({ schedule, durationS = 0 }) => {
    const times = schedule === undefined ? undefined : parseSchedule(schedule);
    const began = times?.last(now * 1_000, (now - durationS) * 1_000);
    const next = times?.next(now * 1_000);
    return [next === undefined ? 0 : next / 1_000, began === undefined ? 0 : began / 1_000 + durationS];
  });
  const soon = changes.filter((at) => at > now && Number.isFinite(at));
  return soon.length > 0 ? Math.min(...soon) : undefined;
}

/** What cannot be read of a budget; such a one allows nothing. */
export function budgetProblem({ nodes, schedule, durationS }: Budget): string | undefined {
  if (!/^(?:[0-9]+|(?:100|[0-9]{1,2})%)$/.test(nodes)) return `nodes: ${JSON.stringify(nodes)}; expected a number or a percentage`;
  if ((schedule === undefined) !== (durationS === undefined)) return "schedule: goes together with duration";
  if (schedule !== undefined && !parseSchedule(schedule))
    return `schedule: ${JSON.stringify(schedule)}; expected five fields of cron, in UTC`;
  if (durationS !== undefined && !(durationS >= 0)) return "duration: expected one such as 8h";
  return undefined;
}

function most(budget: Budget, nodes: number, now: number | undefined): number {
  if (budgetProblem(budget) !== undefined) return 0;
  if (budget.schedule !== undefined && now === undefined) return 0;
  return holds(budget, now ?? 0) ? count(budget.nodes, nodes) : nodes;
}

function holds({ schedule, durationS = 0 }: Budget, now: number): boolean {
  if (schedule === undefined) return true;
  const began = parseSchedule(schedule)?.last(now * 1_000, (now - durationS) * 1_000);
  return began !== undefined && began / 1_000 + durationS > now;
}

function count(text: string, nodes: number): number {
  const number = Number.parseInt(text, 10);
  return text.endsWith("%") ? Math.ceil((nodes * number) / 100) : number;
}

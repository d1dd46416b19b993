import type { Disruption, Held } from "./disrupt.ts";
import { type Allowance, type Candidate, isEmpty, podBlocker } from "./disrupt-candidates.ts";
import { NO_SUPPLY, type Outlook, type Supply } from "./disrupt-moves.ts";
import { order } from "./order.ts";

/** As many nodes as are looked at for one tenant in one plan, as Karpenter does. */
const MOST_CANDIDATES = 100;

/**
 * Under-utilised nodes: those whose pods fit elsewhere go, without asking for prices; and where none does, one machine
 * of strictly lower cost replaces several, or one. The cheapest to disturb for what it costs goes first, then by name.
 */
export function consolidate(
  outlook: Outlook,
  candidates: readonly Candidate[],
  allowance: Allowance,
): { readonly now: readonly Disruption[]; readonly held: readonly Held[] } {
  const held: Held[] = [];
  const due = [...candidates]
    .sort((a, b) => b.cost / b.disturbance - a.cost / a.disturbance || order(a.node.name, b.node.name))
    .filter((one) => {
      const reason = blocker(one);
      if (reason !== undefined) held.push({ tenant: one.tenant.tenant, node: one.node.name, reason });
      return reason === undefined;
    })
    .slice(0, MOST_CANDIDATES);
  const deleted = withoutReplacement(outlook, due, allowance, held);
  if (deleted.length > 0) return { now: [...deleted].sort(byNode).map(deletion), held };
  const replaced = withReplacement(outlook, due, allowance);
  return { now: replaced ? [replaced] : [], held };
}

function byNode(a: Candidate, b: Candidate): number {
  return order(a.node.name, b.node.name);
}

function blocker({ node }: Candidate): string | undefined {
  if (node.doNotDisrupt) return "karpenter.sh/do-not-disrupt";
  if ((node.pods ?? []).some((pod) => pod.gang !== undefined)) return "a gang runs there";
  return podBlocker(node);
}

function deletion({ tenant, pool, node }: Candidate): Disruption {
  return {
    tenant: tenant.tenant,
    pool: pool.name,
    reason: "Underutilized",
    how: "delete",
    nodes: [node.name],
    replacements: [],
    pods: (node.pods ?? []).map((pod) => pod.key),
    message: "its pods fit on other nodes",
  };
}

/** One after the other, each with those before it gone already. */
function withoutReplacement(outlook: Outlook, due: readonly Candidate[], allowance: Allowance, held: Held[]): Candidate[] {
  const chosen: Candidate[] = [];
  for (const one of due) {
    const problem = allowance.problem(one.pool, "Underutilized");
    if (problem !== undefined) {
      held.push({ tenant: one.tenant.tenant, node: one.node.name, reason: problem });
      continue;
    }
    const next = [...chosen, one];
    if (!isBalanced(next, 0) || !fits(outlook, next)) continue;
    chosen.push(one);
    allowance.take(one.pool.name);
  }
  return chosen;
}

function fits(outlook: Outlook, gone: readonly Candidate[]): boolean {
  return outlook.move(tenantOf(gone), namesOf(gone), NO_SUPPLY) !== undefined;
}

function tenantOf([first]: readonly Candidate[]): string {
  if (!first) throw new RangeError("no candidate");
  return first.tenant.tenant;
}

function namesOf(candidates: readonly Candidate[]): ReadonlySet<string> {
  return new Set(candidates.map((one) => one.node.name));
}

/** The largest group at the front that one cheaper machine replaces, found by halving as Karpenter does; or one alone. */
function withReplacement(outlook: Outlook, due: readonly Candidate[], allowance: Allowance): Disruption | undefined {
  const free = outlook.spare();
  const going = due.filter((one) => allowance.problem(one.pool, "Underutilized") === undefined);
  if (!isWorthTrying(going, free)) return undefined;
  let best: Disruption | undefined;
  for (let low = 2, high = going.length; low <= high; ) {
    const middle = Math.floor((low + high) / 2);
    const found = replacement(outlook, going.slice(0, middle), free, allowance);
    if (found) best = found;
    if (found) low = middle + 1;
    else high = middle - 1;
  }
  for (const one of best ? [] : going) best ??= replacement(outlook, [one], free, allowance);
  for (const one of going) if (best?.nodes.includes(one.node.name)) allowance.take(one.pool.name);
  return best;
}

/** Equal costs, which is what nobody set, never pay. */
function isWorthTrying(going: readonly Candidate[], free: Supply): boolean {
  const total = going.reduce((sum, one) => sum + one.cost, 0);
  return [...free.machines, ...free.catalog].some((machine) => (machine.cost ?? 1) < total);
}

function replacement(outlook: Outlook, gone: readonly Candidate[], free: Supply, allowance: Allowance): Disruption | undefined {
  const tenant = tenantOf(gone);
  if (gone.some((one) => isEmpty(one.node)) || !isWithin(gone, allowance)) return undefined;
  const cost = gone.reduce((sum, one) => sum + one.cost, 0);
  const cheaper = (machine: { readonly cost?: number }) => (machine.cost ?? 1) < cost;
  const supply = { machines: free.machines.filter(cheaper), catalog: free.catalog.filter(cheaper) };
  const move = outlook.move(tenant, namesOf(gone), supply);
  const [claim, ...more] = move?.claims ?? [];
  if (!claim || more.length > 0 || !isBalanced(gone, claim.cost ?? 1)) return undefined;
  return {
    tenant,
    pool: gone[0]?.pool.name ?? "",
    reason: "Underutilized",
    how: "replace",
    nodes: gone.map((one) => one.node.name).sort(order),
    replacements: [claim],
    pods: gone.flatMap((one) => (one.node.pods ?? []).map((pod) => pod.key)),
    message: `${claim.machine} costs less and takes its pods`,
  };
}

/** Whether the budgets of all their pools let all of them go. */
function isWithin(gone: readonly Candidate[], allowance: Allowance): boolean {
  const taken: string[] = [];
  const within = gone.every((one) => {
    if (allowance.problem(one.pool, "Underutilized") !== undefined) return false;
    allowance.take(one.pool.name);
    taken.push(one.pool.name);
    return true;
  });
  for (const pool of taken) allowance.giveBack(pool);
  return within;
}

/** Karpenter's `Balanced`: the share of the pool's cost that is saved is at least half the share of its pods disturbed. */
function isBalanced(gone: readonly Candidate[], price: number): boolean {
  const pools = new Set(gone.map((one) => one.pool).filter((pool) => pool.disruption?.policy === "Balanced"));
  return [...pools].every((pool) => {
    const mine = gone.filter((one) => one.pool === pool);
    const all = mine[0]?.tenant.nodes.filter((node) => node.pool === pool.name && !node.leaving) ?? [];
    const saved = mine.reduce((sum, one) => sum + one.cost, -price) / all.reduce((sum, node) => sum + (node.cost ?? 1), 0);
    const weightOf = (pods: number) => pods + 1;
    const disturbed =
      mine.reduce((sum, one) => sum + one.disturbance, 0) / all.reduce((sum, node) => sum + weightOf((node.pods ?? []).length), 0);
    return saved >= disturbed / 2;
  });
}

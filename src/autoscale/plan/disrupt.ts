import type { Plan, PlannedClaim } from "./answer.ts";
import { nextChange } from "./budgets.ts";
import { Allowance, type Candidate, candidatesOf, type DisruptionReason, isEmpty, nominated } from "./disrupt-candidates.ts";
import { consolidate } from "./disrupt-consolidate.ts";
import { replaceDrifted } from "./disrupt-drift.ts";
import { beyondReplicas } from "./disrupt-fixed.ts";
import { Outlook, type Planner } from "./disrupt-moves.ts";
import { order } from "./order.ts";
import { plan } from "./plan.ts";
import { inTurn } from "./rounds.ts";
import type { World } from "./world.ts";

export type { DisruptionReason } from "./disrupt-candidates.ts";

/** Nodes to give up together. */
export interface Disruption {
  readonly tenant: string;
  readonly pool: string;
  readonly reason: DisruptionReason;
  /**
   * `delete`: they are drained and given back. `replace`: only once the replacements are initialised. `reinstall`:
   * drained and installed anew on the same machine, because there is no spare.
   */
  readonly how: "delete" | "replace" | "reinstall";
  readonly nodes: readonly string[];
  readonly replacements: readonly PlannedClaim[];
  /** Who has to move, `namespace/name`. */
  readonly pods: readonly string[];
  readonly message: string;
}

/** Nodes for which one round asks whether their pods fit elsewhere: each is a plan of its tenant's cluster. */
const MOST_TRIED = 500;

/** A node that would go but may not, and what keeps it. */
export interface Held {
  readonly tenant: string;
  readonly node: string;
  readonly reason: string;
}

export interface Disruptions {
  readonly now: readonly Disruption[];
  readonly held: readonly Held[];
  /** When something may be due next, if nothing changes. */
  readonly nextInS?: number;
}

/**
 * Which nodes to give up or replace now. Pure; `planned` is what the waiting pods need, and comes first: no node they
 * are expected on is touched, and a tenant that waits for machines is not consolidated.
 *
 * Expired nodes go whatever else; then empty ones, drifted ones, and where none of a tenant's goes for these reasons,
 * under-utilised ones. What goes for a reason is within the budgets of its pool for that reason, all reasons together.
 */
export function disruptions(world: World, planned: Plan = plan(world), planner: Planner = plan): Disruptions {
  const allowance = new Allowance(world);
  const wanted = nominated(planned);
  const later: number[] = [];
  const held: Held[] = [];
  const now = expired(world, allowance, later);
  const gone = new Set(now.flatMap((one) => one.nodes.map((node) => `${one.tenant}/${node}`)));
  const quiet = candidatesOf(without(world, gone)).filter((one) => !wanted.has(keyOf(one)));
  const go = (found: { readonly now: readonly Disruption[]; readonly held: readonly Held[] }) => {
    now.push(...found.now);
    held.push(...found.held);
    for (const one of found.now) for (const node of one.nodes) gone.add(`${one.tenant}/${node}`);
  };
  go(beyondReplicas(quiet, allowance));
  // what an earlier round claimed for pods that this one has not read is empty for a moment
  const unread = new Set((planned.rest ?? []).map((one) => one.tenant));
  go(
    givenBack(
      quiet.filter((one) => !unread.has(one.tenant.tenant)),
      allowance,
      later,
    ),
  );
  const taken = (planned.actions ?? []).filter(({ verb }) => verb !== "evict").map(({ from, node }) => `${from}/${node}`);
  const after = without(world, new Set([...gone, ...taken]));
  const outlook = new Outlook(planner, after, planned);
  const staying = candidatesOf(after).filter((one) => !wanted.has(keyOf(one)));
  go(replaceDrifted(outlook, staying, allowance, displaced(now, planned)));
  let tried = 0;
  const named = [...after.tenants].sort((a, b) => order(a.tenant, b.tenant));
  for (const tenant of staying.length > MOST_TRIED ? inTurn(named, world.now) : named) {
    if (tried > MOST_TRIED) {
      later.push(1);
      break;
    }
    if (now.some((one) => one.tenant === tenant.tenant) || isMoving(tenant.tenant, planned)) continue;
    const mine = staying.filter((one) => one.tenant === tenant && mayConsolidate(one, world, later));
    tried += mine.length;
    if (mine.length === 0) continue;
    const found = consolidate(outlook, mine, allowance);
    for (const one of found.now) outlook.carryOut(one);
    go(found);
  }
  for (const pool of world.tenants.flatMap((tenant) => tenant.pools)) {
    const change = world.now === undefined ? undefined : nextChange(pool.disruption?.budgets ?? [], world.now);
    if (change !== undefined) later.push(change - (world.now ?? 0));
  }
  return {
    now,
    held: held.sort((a, b) => order(a.tenant, b.tenant) || order(a.node, b.node)),
    ...(later.length > 0 ? { nextInS: Math.min(...later) } : {}),
  };
}

function keyOf({ tenant, node }: Candidate): string {
  return `${tenant.tenant}/${node.name}`;
}

/** Its pods wait for machines: what is empty or half empty now may be wanted in a moment. */
function isMoving(tenant: string, planned: Plan): boolean {
  return (
    planned.claims.some((claim) => claim.tenant === tenant) ||
    (planned.rest ?? []).some((one) => one.tenant === tenant) ||
    (planned.actions ?? []).some((one) => one.to === tenant || one.from === tenant)
  );
}

/** Tenants whose pods lose nodes, whether they fit elsewhere or not. */
function displaced(forced: readonly Disruption[], planned: Plan): ReadonlySet<string> {
  return new Set([
    ...forced.filter((one) => one.pods.length > 0).map((one) => one.tenant),
    ...(planned.actions ?? []).filter((one) => one.pods.length > 0).map((one) => one.from),
  ]);
}

/** Forceful, as Karpenter's: no budget and no wish keeps a node that is past its time; it is up or not. */
function expired(world: World, allowance: Allowance, later: number[]): Disruption[] {
  return [...world.tenants]
    .sort((a, b) => order(a.tenant, b.tenant))
    .flatMap((tenant) => {
      const pools = new Map(tenant.pools.map((pool) => [pool.name, pool]));
      return [...tenant.nodes]
        .sort((a, b) => order(a.name, b.name))
        .flatMap((node): Disruption[] => {
          const pool = pools.get(node.pool ?? "");
          const expireAfterS = node.expireAfterS ?? pool?.disruption?.expireAfterS;
          if (!pool || node.leaving || expireAfterS === undefined || node.ageS === undefined) return [];
          if (node.ageS < expireAfterS) {
            if (Number.isFinite(expireAfterS)) later.push(expireAfterS - node.ageS);
            return [];
          }
          allowance.take(pool.name);
          const common = { tenant: tenant.tenant, pool: pool.name, nodes: [node.name], replacements: [] };
          const pods = (node.pods ?? []).map((pod) => pod.key);
          return [{ ...common, reason: "Expired", how: "delete", pods, message: "its expireAfter is over" }];
        });
    });
}

/** Empty nodes, the longest empty first where the budget does not let all of them go. */
function givenBack(candidates: readonly Candidate[], allowance: Allowance, later: number[]): { now: Disruption[]; held: Held[] } {
  const held: Held[] = [];
  const now: Disruption[] = [];
  const empty = candidates.filter((one) => isEmpty(one.node) && one.pool.replicas === undefined);
  for (const one of [...empty].sort((a, b) => emptyFor(b) - emptyFor(a) || order(a.node.name, b.node.name))) {
    const { tenant, pool, node } = one;
    const afterS = pool.disruption?.consolidateAfterS ?? 0;
    if (afterS === "never") continue;
    if (emptyFor(one) < afterS) {
      later.push(afterS - emptyFor(one));
      continue;
    }
    const reason = node.doNotDisrupt ? "karpenter.sh/do-not-disrupt" : allowance.problem(pool, "Empty");
    if (reason !== undefined) {
      held.push({ tenant: tenant.tenant, node: node.name, reason });
      continue;
    }
    allowance.take(pool.name);
    const common = { tenant: tenant.tenant, pool: pool.name, nodes: [node.name], replacements: [], pods: [] };
    now.push({ ...common, reason: "Empty", how: "delete", message: "nothing has run on it for the pool's consolidateAfter" });
  }
  return { now: now.sort((a, b) => order(a.nodes[0] ?? "", b.nodes[0] ?? "")), held };
}

function emptyFor({ node }: Candidate): number {
  return node.emptyForS ?? 0;
}

/** Quiet for long enough, and up for longer than it takes to get such a machine again: else nodes would come and go. */
function mayConsolidate({ pool, node }: Candidate, world: World, later: number[]): boolean {
  const { policy = "WhenEmptyOrUnderutilized", consolidateAfterS = 0 } = pool.disruption ?? {};
  if (policy === "WhenEmpty" || consolidateAfterS === "never" || pool.replicas !== undefined || isEmpty(node)) return false;
  const quietS = node.quietForS ?? node.ageS ?? Number.POSITIVE_INFINITY;
  const missing = Math.max(consolidateAfterS - quietS, (world.policy?.turnaroundS ?? 0) - (node.ageS ?? Number.POSITIVE_INFINITY));
  if (missing > 0) later.push(missing);
  return missing <= 0;
}

/** The world in which nodes are on their way out already. */
function without(world: World, gone: ReadonlySet<string>): World {
  if (gone.size === 0) return world;
  return {
    ...world,
    tenants: world.tenants.map((tenant) => ({
      ...tenant,
      nodes: tenant.nodes.map((node) => (gone.has(`${tenant.tenant}/${node.name}`) ? { ...node, leaving: true } : node)),
    })),
  };
}

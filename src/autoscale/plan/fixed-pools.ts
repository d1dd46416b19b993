import type { Action, Plan, PlannedClaim, Refusal } from "./answer.ts";
import { isDirty, longWipe } from "./choose.ts";
import { Cluster } from "./cluster.ts";
import { Demand } from "./demand.ts";
import { Heap } from "./heap.ts";
import { SharedMarket } from "./market.ts";
import { isAccelerator, type Needs, NeedsTable } from "./needs.ts";
import { order } from "./order.ts";
import type { Offer, Outlet } from "./outlet.ts";
import { claimOf, onItsWay, wiped } from "./planned-claim.ts";
import { Quotas } from "./quotas.ts";
import type { MachineSupply, PodNeeds, PoolWorld, TenantWorld, World } from "./world.ts";

/** What fills pools of a fixed size, and the world in which that is on its way. */
export interface Fixed {
  readonly world: World;
  readonly claims: readonly PlannedClaim[];
  readonly actions: readonly Action[];
  /** Pools that stay too small; nobody's pods are in these. */
  readonly refusals: readonly Refusal[];
}

/** How many more machines a pool of a fixed size wants; below 0: how many it has too many. */
export function missingOf(tenant: TenantWorld, pool: PoolWorld): number {
  if (pool.replicas === undefined || pool.problem !== undefined) return 0;
  return pool.replicas - tenant.nodes.filter((node) => node.pool === pool.name && !node.leaving).length;
}

/**
 * Claims for pools with `replicas` that have fewer machines: whatever pods want, one at a time by the tenants' turns, within the
 * pool's limits, quota, windows and warm floors. Free before on its way out, wiped before not, sound before what failed
 * lately, then the least wasteful.
 */
export function fixedPools(world: World): Fixed {
  const short = world.tenants.filter((tenant) => tenant.pools.some((pool) => missingOf(tenant, pool) > 0));
  if (short.length === 0) return { world, claims: [], actions: [], refusals: [] };
  const market = new SharedMarket({ ...world, tenants: short.map(withoutPods) });
  const quotas = new Quotas(world);
  const table = new NeedsTable();
  const anything = table.of(ANYTHING);
  const fillers = short.map((tenant) => {
    const demand = new Demand(withoutPods(tenant), table, market);
    return new Filler(tenant, new Cluster(demand, [], market.fleet), {
      market,
      quotas,
      anything,
      waitS: world.policy?.waitForWipeS ?? 0,
      longWipeS: longWipe(world.policy ?? {}),
    });
  });
  const waiting = new Heap<Filler>((a, b) => quotas.before(a.cluster, b.cluster), fillers);
  let nth = 0;
  for (let filler = waiting.pop(); filler; filler = waiting.pop()) {
    if (!filler.open(nth + 1)) continue;
    nth += 1;
    waiting.push(filler);
  }
  const opened = fillers
    .flatMap(({ cluster }) => cluster.openings().map((one) => ({ ...one, cluster })))
    .sort((a, b) => a.opening.nth - b.opening.nth);
  const claims = opened.map(({ cluster, site, opening }) => whole(claimOf(cluster, opening, site, world.policy)));
  return {
    world: onItsWay(world, claims),
    claims,
    actions: opened.flatMap(({ cluster, opening }) => wiped(opening.machine, cluster.demand.world.tenant)),
    refusals: fillers.flatMap((one) => one.refusals),
  };
}

/** A plan with what fills the fixed pools. */
export function withFixed(plan: Plan, { claims, actions, refusals }: Fixed): Plan {
  if (claims.length + refusals.length === 0) return plan;
  const coming = new Set(claims.map((claim) => `${claim.tenant}/${claim.machine}`));
  const all = [...actions, ...(plan.actions ?? [])];
  return {
    ...plan,
    placements: plan.placements.map((one) => (coming.has(`${one.tenant}/${one.node}`) ? { ...one, planned: true } : one)),
    claims: [...claims, ...plan.claims],
    refusals: [...refusals, ...plan.refusals],
    ...(all.length > 0 ? { actions: all } : {}),
  };
}

/** One tenant's pools on their way to their size. */
class Filler {
  readonly cluster: Cluster;
  readonly refusals: Refusal[] = [];
  private readonly of: {
    readonly market: SharedMarket;
    readonly quotas: Quotas;
    readonly anything: Needs;
    readonly waitS: number;
    readonly longWipeS: number | undefined;
  };
  private readonly due: { readonly pool: PoolWorld; readonly outlet: Outlet; missing: number }[];

  constructor(tenant: TenantWorld, cluster: Cluster, of: Filler["of"]) {
    this.cluster = cluster;
    this.of = of;
    this.due = cluster.demand.outlets.flatMap(({ pool, outlet }) => {
      const missing = missingOf(tenant, pool);
      return missing > 0 ? [{ pool, outlet, missing }] : [];
    });
  }

  /** One machine more. @returns whether there is one */
  open(nth: number): boolean {
    for (let next = this.due[0]; next; next = this.due[0]) {
      const { pool, outlet } = next;
      const offer = this.best(pool, outlet);
      const machine = offer && this.of.market.fleet.take(offer.lot, (one) => outlet.allows(this.of.anything, one, offer));
      if (offer && machine) {
        next.missing -= 1;
        if (next.missing === 0) this.due.shift();
        this.of.quotas.opened(this.cluster, machine);
        this.cluster.open({ machine, offer, outlet, pool, nth });
        return true;
      }
      this.due.shift();
      this.refuse(pool, outlet, next.missing);
    }
    return false;
  }

  private best(pool: PoolWorld, outlet: Outlet): Offer | undefined {
    let best: Offer | undefined;
    for (const offer of outlet.offers) {
      if (best && this.compare(best, offer) <= 0) continue;
      if (this.problem(pool, outlet, offer) === undefined) best = offer;
    }
    return best;
  }

  private compare({ lot: { like: a }, rank }: Offer, { lot: { like: b }, rank: other }: Offer): number {
    const { tenant } = this.cluster.demand.world;
    return (
      Number(isDirty(a, tenant)) - Number(isDirty(b, tenant)) ||
      (a.readyInS ?? 0) - (b.readyInS ?? 0) ||
      (a.failures?.count ?? 0) - (b.failures?.count ?? 0) ||
      rank - other
    );
  }

  private problem(pool: PoolWorld, outlet: Outlet, offer: Offer): string | undefined {
    const { market, quotas, anything, waitS, longWipeS } = this.of;
    const { like } = offer.lot;
    if (like.unavailable !== undefined) return like.unavailable;
    if (market.fleet.available(offer.lot, 1) === 0) return "in use";
    if (like.readyInS !== undefined && like.readyInS > waitS) return `on its way out, free in ${like.readyInS} s`;
    if (longWipeS !== undefined && isDirty(like, this.cluster.demand.world.tenant)) return `not wiped yet, free in ${longWipeS} s`;
    const limit = this.cluster.limit(pool, like);
    if (limit !== undefined) return `over the pool's limit of ${limit}`;
    const named = (machine: MachineSupply) => outlet.allows(anything, machine, offer);
    const next = offer.lot.endless ? like : offer.lot.free.findLast(named);
    if (!next) return "not one it names";
    return quotas.problem(this.cluster, [next], ORDINARY);
  }

  private refuse(pool: PoolWorld, outlet: Outlet, missing: number): void {
    const because = new Map<string, number>();
    for (const offer of outlet.offers) {
      const reason = this.problem(pool, outlet, offer) ?? "free";
      because.set(reason, (because.get(reason) ?? 0) + offer.lot.size);
    }
    const text = [...because].sort(([a, n], [b, m]) => m - n || order(a, b)).map(([reason, count]) => `${count} ${reason}`);
    this.refusals.push({
      tenant: this.cluster.demand.world.tenant,
      pods: [],
      reason: `pool ${pool.name}: ${missing} of its ${pool.replicas} machines are missing: ${text.join(", ") || "no machine suits it"}`,
      pools: [],
    });
  }
}

/** Of no pod: any machine will do. */
const ANYTHING: PodNeeds = { requests: new Map(), terms: [[]], tolerations: [], hostPorts: [] };
const ORDINARY = { priority: 0 };

function withoutPods(tenant: TenantWorld): TenantWorld {
  const { gangs: _, ...rest } = tenant;
  return { ...rest, pods: [] };
}

/** Its node must offer the machine's accelerators before it counts as up: no pod says so for it. */
function whole(claim: PlannedClaim): PlannedClaim {
  return { ...claim, requests: new Map([...claim.requests, ...[...claim.allocatable].filter(([name]) => isAccelerator(name))]) };
}

import { add } from "../../core/quantity.ts";
import { FIELD_NAME, labelsOf, toList } from "../../core/requirements.ts";
import { order } from "./kinds.ts";
import type { Offer } from "./offer.ts";
import { refusalsOf } from "./refusal.ts";
import type { Site } from "./site.ts";
import { TenantDemand } from "./tenant.ts";
import { type Opened, Turn } from "./turn.ts";
import type { MachineSupply, Plan, PlannedClaim, World } from "./world.ts";

/** Passes change the plan a second time only in rare worlds; one that needs more than these would never settle. */
const MOST_PASSES = 8;

/**
 * Which pods go where, which machines to claim for the others, and why the rest must wait. Pure and deterministic:
 * the order of anything in the world does not matter.
 *
 * A pass takes the kinds of pods in their order, places each on nodes there are or will be, and opens one machine at a
 * time for what is left; tenants take turns, the one that holds the fewest machines first, then the one that waits
 * longest, then by name. Passes are repeated with the claims of the last as nodes to come until one opens nothing and
 * leaves nothing unused: so a plan, carried out and planned again, is empty.
 */
export function plan(world: World): Plan {
  const machines = [...world.machines].sort((a, b) => order(a.name, b.name));
  const demands = [...world.tenants].sort((a, b) => order(a.tenant, b.tenant)).map((tenant) => new TenantDemand(tenant, machines));
  let opened: readonly Opened[] = [];
  for (let count = 1; ; count += 1) {
    const turns = pass(demands, opened);
    const sites = turns.flatMap((turn) => turn.openSites().map((one) => ({ ...one, demand: turn.demand })));
    const used = sites.filter(({ site }) => site.pods.length > 0).sort((a, b) => order(a.site.rank[1], b.site.rank[1]));
    const settled = used.length === opened.length && sites.length === opened.length;
    if (settled || count === MOST_PASSES) return answer(turns, machines, used);
    opened = used.map(({ demand, offer, site }) => ({ demand, offer, offered: site.settled() }));
  }
}

function pass(demands: readonly TenantDemand[], opened: readonly Opened[]): Turn[] {
  const taken = new Set(opened.map((one) => one.offer.machine.name));
  const turns = demands.map((demand) => new Turn(demand, opened));
  for (let turn = nextOf(turns), nth = opened.length; turn; turn = nextOf(turns)) {
    const machine = turn.step(taken, nth);
    if (machine === undefined) continue;
    taken.add(machine);
    nth += 1;
  }
  return turns;
}

function nextOf(turns: readonly Turn[]): Turn | undefined {
  const before = (a: Turn, b: Turn) => (a.held - b.held || order(a.demand.since, b.demand.since) || order(a.name, b.name)) < 0;
  let next: Turn | undefined;
  for (const turn of turns) if (turn.hasWork() && (!next || before(turn, next))) next = turn;
  return next;
}

function answer(
  turns: readonly Turn[],
  machines: readonly MachineSupply[],
  used: readonly { demand: TenantDemand; offer: Offer; site: Site }[],
): Plan {
  const taken = new Set(used.map(({ offer }) => offer.machine.name));
  return {
    placements: turns.flatMap((turn) => turn.placements()),
    claims: used.map(({ demand, offer, site }) => claimOf(demand.world.tenant, offer, site)),
    refusals: turns.flatMap((turn) => refusalsOf(turn, machines, taken)),
  };
}

function claimOf(tenant: string, offer: Offer, site: Site): PlannedClaim {
  const { pool, machine } = offer;
  const offered = new Map([...site.offered].filter(([key]) => key !== FIELD_NAME));
  return {
    tenant,
    pool: pool.name,
    machineClass: pool.machineClass.name,
    machine: machine.name,
    labels: labelsOf(offered),
    requirements: toList(offered),
    requests: add(offer.daemons, site.used),
    taints: pool.taints,
    startupTaints: pool.startupTaints,
    capacity: machine.capacity,
    allocatable: machine.allocatable,
  };
}

import { LABEL_INSTANCE_TYPE, LABEL_NODEPOOL } from "../../core/names.ts";
import { add } from "../../core/quantity.ts";
import { intersect, labelsOf, type Requirements, requirementsOfLabels, toList } from "../../core/requirements.ts";
import type { Action, Plan, PlannedClaim } from "./answer.ts";
import { isDirty } from "./choose.ts";
import { order } from "./order.ts";
import { Planner } from "./passes.ts";
import { type Reclaimed, reclaim } from "./reclaim.ts";
import { refusalsOf } from "./refusal.ts";
import type { Opening, Site } from "./sites.ts";
import type { Turn } from "./turn.ts";
import type { MachineSupply, World } from "./world.ts";

/**
 * Which pods go where, which machines to claim for the others, and why the rest must wait. Pure and deterministic:
 * the order of anything in the world does not matter.
 *
 * A pass takes the kinds of pods in their order, places each on nodes there are or will be, and opens one machine at a
 * time for what is left; the referee says which tenant opens the next. Passes are repeated with the claims of the last
 * as nodes to come until one opens nothing and leaves nothing unused: so a plan, carried out and planned again, is empty.
 */
export function plan(world: World): Plan {
  const planner = new Planner(world);
  const turns = planner.run();
  return answer(turns, reclaim(world, turns, planner.quotas, planner.market.fleet));
}

function answer(turns: readonly Turn[], { actions, lost }: Reclaimed): Plan {
  const opened = turns
    .flatMap((turn) => turn.cluster.openings().map((one) => ({ ...one, turn })))
    .filter(({ site }) => site.here.length > 0)
    .sort((a, b) => a.opening.nth - b.opening.nth);
  const rest = turns.flatMap((turn) => {
    const pods = turn.rest.flatMap(({ kind, from }) => kind.keys.slice(from));
    return pods.length > 0 ? [{ tenant: turn.cluster.demand.world.tenant, pods }] : [];
  });
  const wipes = opened.flatMap(({ turn, opening }) => wiped(opening.machine, turn.cluster.demand.world.tenant));
  return {
    placements: turns.flatMap((turn) => placementsOf(turn, lost)),
    claims: opened.map(({ turn, opening, site }) => claimOf(turn, opening, site)),
    refusals: turns.flatMap((turn) => [...refusalsOf(turn), ...takenFrom(turn, lost)]),
    ...(actions.length + wipes.length > 0 ? { actions: [...actions, ...wipes] } : {}),
    ...(rest.length > 0 ? { rest } : {}),
  };
}

/** What another tenant wrote to is wiped before it is given. */
function wiped(machine: MachineSupply, to: string): Action[] {
  if (!isDirty(machine, to)) return [];
  const reason = "another tenant wrote to its disks last";
  const common = { node: machine.name, machine: machine.name, from: machine.lastTenant ?? "", to, pods: [], reason };
  return [
    { verb: "wipe", ...common },
    { verb: "give", ...common },
  ];
}

/** Pods that would have gone to nodes which must be given up. */
function takenFrom(turn: Turn, lost: Reclaimed["lost"]): Plan["refusals"] {
  const { tenant } = turn.cluster.demand.world;
  return turn.cluster.sites.all.flatMap((site) => {
    const to = lost.get(`${tenant}/${site.name}`);
    const pods = site.here.flatMap((one) => one.pods);
    if (to === undefined || site.opening !== undefined || pods.length === 0) return [];
    return [{ tenant, pods, reason: `node ${site.name} is given to ${to}`, pools: [] }];
  });
}

function placementsOf(turn: Turn, lost: Reclaimed["lost"]): Plan["placements"] {
  const { tenant } = turn.cluster.demand.world;
  return turn.cluster.sites.all
    .filter((site) => site.here.length > 0 && (site.opening !== undefined || !lost.has(`${tenant}/${site.name}`)))
    .map((site) => ({
      tenant,
      node: site.name,
      planned: site.opening !== undefined,
      pods: site.here.length === 1 ? (site.here[0]?.pods ?? []) : site.here.flatMap((one) => one.pods),
    }))
    .sort((a, b) => order(a.node, b.node));
}

function claimOf(turn: Turn, { machine, offer, pool, gang }: Opening, site: Site): PlannedClaim {
  const { tenant } = turn.cluster.demand.world;
  const open: Requirements = turn.cluster.openOf(site);
  const own = requirementsOfLabels({
    [LABEL_INSTANCE_TYPE]: pool.machineClass.name,
    ...machine.nodeLabels,
    ...pool.labels,
    [LABEL_NODEPOOL]: pool.name,
  });
  const offered = intersect(own, open);
  return {
    tenant,
    pool: pool.name,
    machineClass: pool.machineClass.name,
    machine: machine.name,
    labels: labelsOf(offered),
    requirements: toList(offered),
    requests: add(
      offer.daemons,
      ...site.here.map(
        ({ kind, pods }) => new Map([...kind.needs.source.requests].map(([name, amount]) => [name, amount * BigInt(pods.length)])),
      ),
    ),
    taints: pool.taints,
    startupTaints: pool.startupTaints,
    capacity: machine.capacity,
    allocatable: machine.allocatable,
    ...(machine.readyInS !== undefined || isDirty(machine, tenant) ? { awaiting: { readyInS: machine.readyInS ?? 0 } } : {}),
    ...(gang === undefined ? {} : { gang }),
    ...(machine.cost === undefined ? {} : { cost: machine.cost }),
  };
}

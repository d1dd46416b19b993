import type { Plan } from "./answer.ts";
import { fixedPools, withFixed } from "./fixed-pools.ts";
import { order } from "./order.ts";
import { Planner } from "./passes.ts";
import { claimOf, wiped } from "./planned-claim.ts";
import { type Reclaimed, reclaim } from "./reclaim.ts";
import { refusalsOf } from "./refusal.ts";
import type { Turn } from "./turn.ts";
import { bounded } from "./weight.ts";
import type { World } from "./world.ts";

/**
 * Which pods go where, which machines to claim for the others, and why the rest must wait. Pure and deterministic:
 * the order of anything in the world does not matter.
 *
 * Pools of a fixed size are filled first; their machines are nodes to come for all that follows. A pass takes the kinds of pods in their order, places each on nodes there are or will be, and opens one machine at a
 * time for what is left; the referee says which tenant opens the next. Passes are repeated with the claims of the last
 * as nodes to come until one opens nothing and leaves nothing unused: so a plan, carried out and planned again, is empty.
 */
export function plan(world: World): Plan {
  const { world: read, rest } = bounded(world);
  const fixed = fixedPools(read);
  const planner = new Planner(fixed.world);
  const turns = planner.run();
  const made = withFixed(answer(turns, reclaim(fixed.world, turns, planner.quotas, planner.market.fleet), read.policy), fixed);
  return rest.length === 0 ? made : { ...made, rest: [...rest, ...(made.rest ?? [])] };
}

function answer(turns: readonly Turn[], { actions, lost }: Reclaimed, policy: World["policy"]): Plan {
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
    claims: opened.map(({ turn, opening, site }) => claimOf(turn.cluster, opening, site, policy)),
    refusals: turns.flatMap((turn) => [...refusalsOf(turn), ...takenFrom(turn, lost)]),
    ...(actions.length + wipes.length > 0 ? { actions: [...actions, ...wipes] } : {}),
    ...(rest.length > 0 ? { rest } : {}),
  };
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

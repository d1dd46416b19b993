import type { Action } from "./answer.ts";
import type { Openable } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { Fleet, Lot } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import type { Quotas } from "./quotas.ts";
import { brokenWithout, membersOf } from "./reclaim-broken.ts";
import type { Held } from "./reclaim-held.ts";
import { judged, type Protection, type Victim, victimOrder } from "./reclaim-victims.ts";
import type { Site } from "./sites.ts";
import type { Turn } from "./turn.ts";
import type { MachineSupply, NodeSupply, RunningPod, World } from "./world.ts";

/** A node that may have to go. */
export interface Candidate extends Victim {
  readonly turn: Turn;
  readonly site: Site;
  /** Undefined for what is only planned. */
  readonly supply: NodeSupply | undefined;
  /** Of the inventory; without it, only its own tenant can use the node. */
  readonly machine: MachineSupply | undefined;
  readonly lot: Lot | undefined;
  /** How much was to come there when the pass ended: what came since is not touched. */
  readonly coming: number;
}

/** What candidates are found by. */
export interface Ground {
  readonly world: World;
  readonly quotas: Quotas;
  readonly fleet: Fleet;
}

/** All that may have to go, the least replaceable last; and what may not. */
export function candidatesOf(
  turns: readonly Turn[],
  ground: Ground,
): { readonly candidates: readonly Candidate[]; readonly held: readonly Held[] } {
  const owners = turns.some((turn) => ground.quotas.owns(turn.cluster, []));
  const held: Held[] = [];
  const candidates = turns
    .flatMap((turn) => [...nodesOf(turn, ground, held), ...(owners ? openingsOf(turn, ground) : [])])
    .sort(victimOrder);
  return { candidates, held };
}

function nodesOf(turn: Turn, { world: { policy = {} }, quotas, fleet }: Ground, held: Held[]): Candidate[] {
  const { world, nodes } = turn.cluster.demand;
  const pools = new Map(world.pools.map((pool) => [pool.name, pool]));
  const members = membersOf(turn);
  return nodes.flatMap(({ node }, index): Candidate[] => {
    const site = turn.cluster.sites.all[index];
    const pool = pools.get(node.pool ?? "");
    if (!site || pool?.replicas !== undefined) return [];
    const graceS = node.terminationGracePeriodS ?? pool?.disruption?.terminationGracePeriodS;
    const protection: Protection = {
      minRuntimeS: world.minRuntimeS ?? policy.minRuntimeS ?? 0,
      expendableBelow: policy.expendableBelow ?? Number.NEGATIVE_INFINITY,
      ...(graceS === undefined ? {} : { graceS }),
    };
    const verdict = judged(node, protection);
    const found = fleet.find(node.machine ?? node.name);
    const common = {
      tenant: world.tenant,
      amount: quotas.amount(turn.cluster, node.capacity),
      turn,
      machine: found?.machine,
      lot: found?.lot,
    };
    if (typeof verdict === "string") {
      const highest = Math.max(Number.NEGATIVE_INFINITY, ...(node.pods ?? []).map((pod) => pod.priority));
      if (!node.leaving) held.push({ ...common, priority: highest, reason: verdict });
      return [];
    }
    const idle = verdict.idle && site.here.length === 0;
    const broken = brokenWithout(turn, node, members);
    const priority = Math.max(verdict.priority, ...site.here.map((one) => one.kind.priority), ...(broken ? [broken.priority] : []));
    const breaks = broken ? { breaks: broken.breaks } : {};
    return [{ ...verdict, ...common, ...breaks, idle, priority, site, supply: node, coming: site.here.length }];
  });
}

/** What the plan gave a tenant: it may have been an owner's, who needed more than that at once. Windows count on what they know. */
function openingsOf(turn: Turn, { quotas }: Ground): Candidate[] {
  return turn.cluster.openings().flatMap(({ site, opening: { machine, offer, nth } }): Candidate[] => {
    if (site.here.length === 0 || offer.lot.endless) return [];
    return [
      {
        tenant: tenantOf(turn),
        node: { name: machine.name, ageS: -nth },
        planned: true,
        idle: false,
        forced: false,
        priority: Math.max(...site.here.map((one) => one.kind.priority)),
        amount: quotas.amount(turn.cluster, machine.capacity),
        turn,
        site,
        supply: undefined,
        machine,
        lot: offer.lot,
        coming: site.here.length,
      },
    ];
  });
}

/** How a tenant could have a machine that another has now. */
export function choiceOf(turn: Turn, kind: PodKind, { lot, machine }: Pick<Candidate, "lot" | "machine">): Openable | undefined {
  if (!lot || !machine) return undefined;
  for (const { pool, outlet } of turn.cluster.demand.outlets) {
    if (pool.problem !== undefined || pool.replicas !== undefined || turn.cluster.limit(pool, machine) !== undefined) continue;
    const offer = outlet.verdict(kind.needs).offers.find((one) => one.lot === lot);
    if (offer && outlet.allows(kind.needs, machine, offer)) return { pool, outlet, offer };
  }
  return undefined;
}

/** The name of a turn's tenant. */
export function tenantOf(turn: Turn | { readonly cluster: Cluster }): string {
  return turn.cluster.demand.world.tenant;
}

/** The pods of a candidate that rank below a priority. */
export function lower({ supply }: Candidate, priority: number): RunningPod[] {
  return (supply?.pods ?? []).filter((pod) => pod.priority < priority);
}

/** What pods of a candidate of the same tenant do for those of a higher priority. */
export function eviction({ node, tenant }: Candidate, pods: readonly RunningPod[], kind: PodKind): Action {
  return {
    verb: "evict",
    node: node.name,
    from: tenant,
    to: tenant,
    pods: pods.map((pod) => pod.key),
    reason: `preempted for ${kind.gang === undefined ? `pods of priority ${kind.priority}` : `gang ${kind.gang} of priority ${kind.priority}`}`,
  };
}

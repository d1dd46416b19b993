import type { Plan, PlannedClaim } from "./answer.ts";
import type { MachineSupply, PendingPod, RunningPod, TenantWorld, World } from "./world.ts";

/** Where the pods of nodes that go would be. */
export interface Move {
  /** Claims that must be made first. */
  readonly claims: readonly PlannedClaim[];
}

export type Planner = (world: World) => Plan;

/** What a move may use besides the nodes there are. */
export interface Supply {
  readonly machines: readonly MachineSupply[];
  readonly catalog: readonly MachineSupply[];
}

export const NO_SUPPLY: Supply = { machines: [], catalog: [] };

/** The machines nobody has once a plan is carried out. */
export function leftOver(world: World, planned: Plan): Supply {
  const taken = new Set([
    ...planned.claims.map((claim) => claim.machine),
    ...(planned.actions ?? []).map((one) => one.machine ?? one.node),
  ]);
  return {
    machines: world.machines.filter((one) => one.unavailable === undefined && one.readyInS === undefined && !taken.has(one.name)),
    catalog: world.catalog ?? [],
  };
}

/**
 * Plans the tenant's cluster without some of its nodes, by the same engine: nothing when a pod would be left without a
 * place, be it one that moves or one that waits and has a place now. Nodes on their way up are no place: they may fail.
 * @param still whether the nodes that go still hold their machines, and so count against limits
 */
export function moveOf(
  plan: Planner,
  world: World,
  planned: Plan,
  tenant: TenantWorld,
  gone: ReadonlySet<string>,
  supply: Supply,
  still = true,
): Move | undefined {
  const moving = tenant.nodes.filter((node) => gone.has(node.name)).flatMap((node) => (node.pods ?? []).map(asPending));
  const placed = planned.placements.filter((one) => one.tenant === tenant.tenant && !one.planned).flatMap((one) => one.pods);
  const expected = new Set([...moving.map((pod) => pod.key), ...placed]);
  if (expected.size === 0) return { claims: [] };
  const nodes = tenant.nodes
    .filter((node) => node.initialized && (still || !gone.has(node.name)))
    .map((node) => (gone.has(node.name) ? { ...node, leaving: true, pods: [] } : node));
  const pods = [...tenant.pods.filter((pod) => expected.has(pod.key)).map(alone), ...moving];
  const { gangs: _, ...rest } = tenant;
  const own = { ...rest, nodes, pods };
  const tried = plan({
    ...world,
    machines: supply.machines,
    catalog: supply.catalog,
    // where nothing can be claimed, what others hold does not matter
    tenants: supply === NO_SUPPLY ? [own] : world.tenants.map((one) => (one === tenant ? own : idle(one))),
  });
  if ((tried.actions ?? []).length > 0 || (tried.rest ?? []).length > 0) return undefined;
  for (const one of tried.placements) for (const key of one.pods) expected.delete(key);
  // a machine that is not free yet is no place either
  if (expected.size > 0 || tried.claims.some((claim) => claim.awaiting)) return undefined;
  return { claims: tried.claims };
}

function idle(tenant: TenantWorld): TenantWorld {
  const { gangs: _, ...rest } = tenant;
  return { ...rest, pods: [] };
}

/** A member that moves goes alone: its gang stays where it is. */
function alone(pod: PendingPod): PendingPod {
  const { gang: _, ...rest } = pod;
  return rest;
}

function asPending(pod: RunningPod): PendingPod {
  return { key: pod.key, since: "", priority: pod.priority, labels: pod.labels, needs: pod.needs };
}

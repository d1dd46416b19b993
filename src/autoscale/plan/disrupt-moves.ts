import { add } from "../../core/quantity.ts";
import type { Placement, Plan, PlannedClaim } from "./answer.ts";
import type { Disruption } from "./disrupt.ts";
import { onItsWay } from "./planned-claim.ts";
import type { MachineSupply, NodeSupply, PendingPod, RunningPod, TenantWorld, World } from "./world.ts";

/** Where the pods of nodes that go would be. */
export interface Move {
  /** Claims that must be made first. */
  readonly claims: readonly PlannedClaim[];
  readonly placements: readonly Placement[];
}

export type Planner = (world: World) => Plan;

/** What a move may use besides the nodes there are. */
export interface Supply {
  readonly machines: readonly MachineSupply[];
  readonly catalog: readonly MachineSupply[];
}

export const NO_SUPPLY: Supply = { machines: [], catalog: [] };

/**
 * The world as a plan and the decisions of a round leave it, one after the other: a machine that one of them claims, a
 * node that goes and the room that its pods move to are not there for the next.
 */
export class Outlook {
  private readonly plan: Planner;
  private readonly planned: Plan;
  private world: World;

  constructor(plan: Planner, world: World, planned: Plan) {
    this.plan = plan;
    this.planned = planned;
    this.world = onItsWay(world, planned.claims);
  }

  /** The machines nobody has. */
  spare(): Supply {
    const { machines, catalog = [] } = this.world;
    return { machines: machines.filter((one) => one.unavailable === undefined && one.readyInS === undefined), catalog };
  }

  /** The machine of a node as it will be: free, and its own tenant's data no hindrance. */
  machineUnder({ name, machine = name }: NodeSupply): MachineSupply | undefined {
    const found = this.world.machines.find((one) => one.name === machine);
    if (!found) return undefined;
    const { unavailable: _, lastTenant: __, readyInS: ___, ...rest } = found;
    return rest;
  }

  /**
   * Plans the tenant's cluster without some of its nodes, by the same engine: nothing when a pod would be left without a
   * place, be it one that moves or one that waits and has a place now. Nodes on their way up are no place: they may fail.
   * @param still whether the nodes that go still hold their machines, and so count against limits
   */
  move(name: string, gone: ReadonlySet<string>, supply: Supply, still = true): Move | undefined {
    const { world, planned } = this;
    const tenant = world.tenants.find((one) => one.tenant === name);
    if (!tenant) return undefined;
    const moving = tenant.nodes.filter((node) => gone.has(node.name)).flatMap((node) => (node.pods ?? []).map(asPending));
    const placed = planned.placements.filter((one) => one.tenant === name && !one.planned).flatMap((one) => one.pods);
    const expected = new Set([...moving.map((pod) => pod.key), ...placed]);
    if (expected.size === 0) return { claims: [], placements: [] };
    const nodes = tenant.nodes
      .filter((node) => still || !gone.has(node.name))
      .map((node) => (gone.has(node.name) ? { ...node, leaving: true, pods: [] } : node.initialized ? node : withoutRoom(node)));
    const pods = [...tenant.pods.filter((pod) => expected.has(pod.key)).map(alone), ...moving];
    const { gangs: _, ...rest } = tenant;
    const own = { ...rest, nodes, pods };
    const tried = this.plan({
      ...world,
      ...supply,
      machines: [...supply.machines, ...this.heldInWindows(supply)],
      // where nothing can be claimed, what others hold does not matter
      tenants: supply === NO_SUPPLY ? [own] : world.tenants.map((one) => (one === tenant ? own : idle(one))),
    });
    if ((tried.actions ?? []).length > 0 || (tried.rest ?? []).length > 0) return undefined;
    for (const one of tried.placements) for (const key of one.pods) expected.delete(key);
    // a machine that is not free yet is no place either
    if (expected.size > 0 || tried.claims.some((claim) => claim.awaiting)) return undefined;
    return tried;
  }

  /** Where there are windows, they count on machines that are held too: what runs there is known to end, and nothing longer may join it. */
  private heldInWindows(supply: Supply): readonly MachineSupply[] {
    const { windows = [], machines } = this.world;
    if (windows.length === 0) return [];
    const free = new Set(supply.machines.map((one) => one.name));
    return machines.filter((one) => one.unavailable !== undefined && !free.has(one.name));
  }

  /** From here on it is as if a decision had been carried out. @param placements where its pods move to, as far as others must leave it free */
  carryOut({ tenant, how, nodes, replacements }: Disruption, placements: readonly Placement[] = []): void {
    const world = onItsWay(this.world, replacements);
    const going = new Set(nodes);
    const tenants = world.tenants.map((one) => {
      if (one.tenant !== tenant) return one;
      const moving = new Map(one.nodes.filter(({ name }) => going.has(name)).flatMap(({ pods = [] }) => pods.map((pod) => [pod.key, pod])));
      const coming = new Map(placements.map((each) => [each.node, each.pods.flatMap((key) => moving.get(key) ?? [])]));
      const after = (node: NodeSupply) => {
        if (!going.has(node.name)) return withPods(node, coming.get(node.name) ?? []);
        return how === "reinstall" ? { ...node, initialized: false } : { ...node, leaving: true };
      };
      return { ...one, nodes: one.nodes.map(after) };
    });
    this.world = { ...world, tenants };
  }
}

function withPods(node: NodeSupply, pods: readonly RunningPod[]): NodeSupply {
  if (pods.length === 0) return node;
  return {
    ...node,
    pods: [...(node.pods ?? []), ...pods],
    used: add(node.used, ...pods.map((pod) => pod.needs.requests)),
    hostPorts: [...node.hostPorts, ...pods.flatMap((pod) => pod.needs.hostPorts)],
  };
}

/** Held, and counted against limits, but nothing fits there. */
function withoutRoom(node: NodeSupply): NodeSupply {
  return { ...node, allocatable: new Map() };
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
  const { key, priority, labels, needs, maxRuntimeS } = pod;
  return { key, since: "", priority, labels, needs, ...(maxRuntimeS === undefined ? {} : { maxRuntimeS }) };
}

import { LABEL_INSTANCE_TYPE, LABEL_NODEPOOL } from "../../core/names.ts";
import { add } from "../../core/quantity.ts";
import { intersect, labelsOf, type Requirements, requirementsOfLabels, toList } from "../../core/requirements.ts";
import type { Action, PlannedClaim } from "./answer.ts";
import { isDirty } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { Opening, Site } from "./sites.ts";
import type { MachineSupply, NodeSupply, Policy, World } from "./world.ts";

/** What another tenant wrote to is wiped before it is given. */
export function wiped(machine: MachineSupply, to: string): Action[] {
  if (!isDirty(machine, to)) return [];
  const reason = "another tenant wrote to its disks last";
  const common = { node: machine.name, machine: machine.name, from: machine.lastTenant ?? "", to, pods: [], reason };
  return [
    { verb: "wipe", ...common },
    { verb: "give", ...common },
  ];
}

/** What a claim of a plan says, with all that the plan puts there. */
export function claimOf(cluster: Cluster, { machine, offer, pool, gang }: Opening, site: Site, { wipeS = 0 }: Policy = {}): PlannedClaim {
  const { tenant } = cluster.demand.world;
  const open: Requirements = cluster.openOf(site);
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
    ...(machine.readyInS !== undefined || isDirty(machine, tenant)
      ? { awaiting: { readyInS: (machine.readyInS ?? 0) + (isDirty(machine, tenant) ? wipeS : 0) } }
      : {}),
    ...(gang === undefined ? {} : { gang }),
    ...(machine.cost === undefined ? {} : { cost: machine.cost }),
  };
}

/** The node a claim will be, before anything runs there. @param since sorts it among nodes that come */
export function comingNode(claim: PlannedClaim, since: string): NodeSupply {
  return {
    name: claim.machine,
    machine: claim.machine,
    pool: claim.pool,
    since,
    labels: claim.labels,
    taints: claim.taints,
    startupTaints: claim.startupTaints,
    initialized: false,
    leaving: false,
    capacity: claim.capacity,
    allocatable: claim.allocatable,
    used: new Map(),
    hostPorts: [],
    daemons: [],
  };
}

/** The world in which claims are made: their machines are taken, and nodes to come. */
export function onItsWay(world: World, claims: readonly PlannedClaim[]): World {
  if (claims.length === 0) return world;
  const taken = new Set(claims.map((claim) => claim.machine));
  const byTenant = Map.groupBy(claims, (claim) => claim.tenant);
  return {
    ...world,
    machines: world.machines.map((one) => (taken.has(one.name) ? { ...one, unavailable: "in use" } : one)),
    tenants: world.tenants.map((tenant) => {
      const mine = byTenant.get(tenant.tenant);
      return mine ? { ...tenant, nodes: [...tenant.nodes, ...mine.map((claim, nth) => comingNode(claim, laterThanAll(nth)))] } : tenant;
    }),
  };
}

/** Of a claim to be made: behind all there are. */
function laterThanAll(nth: number): string {
  return `~${String(nth).padStart(6, "0")}`;
}

import { add, subtract } from "../../core/quantity.ts";
import {
  comingNode,
  type NodeSupply,
  type PendingPod,
  type Plan,
  type PlannedClaim,
  type RunningPod,
  type TenantWorld,
  type World,
} from "../plan/index.ts";
import type { Decision } from "./decide.ts";

/**
 * The world once a decision has been carried out to the end: claimed machines are nodes with their pods, what was
 * drained is gone and its pods wait again, what was reinstalled is as its pool wants it.
 */
export function carriedOut(world: World, { plan, disruptions }: Decision): World {
  const going = disruptions?.now ?? [];
  const claims = [...plan.claims, ...going.flatMap((one) => one.replacements)];
  const taken = new Set(claims.map((claim) => claim.machine));
  const freed = new Set<string>();
  const tenants = world.tenants.map((tenant) => tenantAfter(tenant, plan, claims, going, freed));
  return {
    ...world,
    tenants,
    machines: world.machines.map((machine) => {
      if (taken.has(machine.name)) return { ...machine, unavailable: "in use" };
      if (!freed.has(machine.name)) return machine;
      const { unavailable: _, ...free } = machine;
      return free;
    }),
  };
}

function tenantAfter(
  tenant: TenantWorld,
  plan: Plan,
  claims: readonly PlannedClaim[],
  going: NonNullable<Decision["disruptions"]>["now"],
  freed: Set<string>,
): TenantWorld {
  const mine = going.filter((one) => one.tenant === tenant.tenant);
  const actions = (plan.actions ?? []).filter((one) => one.from === tenant.tenant);
  const lost = new Set([
    ...mine.filter((one) => one.how !== "reinstall").flatMap((one) => one.nodes),
    ...actions.filter((one) => (one.verb === "drain" && one.to !== one.from) || one.verb === "release").map((one) => one.node),
  ]);
  const anew = new Set(mine.filter((one) => one.how === "reinstall").flatMap((one) => one.nodes));
  const victims = new Set([...mine, ...actions].flatMap((one) => one.pods));
  for (const node of tenant.nodes) if (lost.has(node.name)) freed.add(node.machine ?? node.name);
  const pods = new Map(tenant.pods.map((pod) => [pod.key, pod]));
  const placed = new Map(
    plan.placements.filter((one) => one.tenant === tenant.tenant).map((one) => [one.node, one.pods.flatMap((key) => pods.get(key) ?? [])]),
  );
  const running = new Set([...placed.values()].flat().map((pod) => pod.key));
  const evicted = tenant.nodes.flatMap((node) => node.pods ?? []).filter((pod) => victims.has(pod.key) && pod.bare !== true);
  const kept = tenant.nodes
    .filter((node) => !lost.has(node.name))
    .map((node) => (anew.has(node.name) ? { ...node, ageS: 0, drifted: undefined } : node))
    .map(({ drifted, ...node }) => withPods(drifted === undefined ? node : { ...node, drifted }, victims, placed.get(node.name) ?? []));
  const made = claims
    .filter((claim) => claim.tenant === tenant.tenant)
    .map((claim) => withPods(nodeOf(claim), new Set(), placed.get(claim.machine) ?? []));
  return {
    ...tenant,
    nodes: [...kept, ...made],
    pods: [...tenant.pods.filter((pod) => !running.has(pod.key)), ...evicted.map(asPending)],
  };
}

function withPods(node: NodeSupply, gone: ReadonlySet<string>, come: readonly PendingPod[]): NodeSupply {
  const leaving = (node.pods ?? []).filter((pod) => gone.has(pod.key));
  const pods = [...(node.pods ?? []).filter((pod) => !gone.has(pod.key)), ...come.map(asRunning)];
  const { emptyForS: _, ...rest } = node;
  return {
    ...rest,
    pods,
    used: add(subtract(node.used, add(...leaving.map((pod) => pod.needs.requests))), ...come.map((pod) => pod.needs.requests)),
    hostPorts: pods.flatMap((pod) => pod.needs.hostPorts),
    quietForS: come.length + leaving.length > 0 ? 0 : (node.quietForS ?? 0),
    ...(pods.length === 0 ? { emptyForS: leaving.length > 0 ? 0 : (node.emptyForS ?? 0) } : {}),
  };
}

function nodeOf(claim: PlannedClaim): NodeSupply {
  return { ...comingNode(claim, "2"), initialized: true, pods: [], ageS: 0, cost: claim.cost ?? 1 };
}

function asRunning(pod: PendingPod): RunningPod {
  return {
    key: pod.key,
    labels: pod.labels,
    priority: pod.priority,
    needs: pod.needs,
    ageS: 0,
    ...(pod.gang === undefined ? {} : { gang: pod.gang }),
    ...(pod.maxRuntimeS === undefined ? {} : { endsInS: pod.maxRuntimeS, maxRuntimeS: pod.maxRuntimeS }),
  };
}

function asPending(pod: RunningPod): PendingPod {
  return {
    key: pod.key,
    since: "9",
    priority: pod.priority,
    labels: pod.labels,
    needs: pod.needs,
    ...(pod.gang === undefined ? {} : { gang: pod.gang }),
    ...(pod.maxRuntimeS === undefined ? {} : { maxRuntimeS: pod.maxRuntimeS }),
  };
}

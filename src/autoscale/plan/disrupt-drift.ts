import type { Plan } from "./answer.ts";
import type { Disruption, Held } from "./disrupt.ts";
import { type Allowance, type Candidate, isEmpty, podBlocker } from "./disrupt-candidates.ts";
import { leftOver, moveOf, NO_SUPPLY, type Planner } from "./disrupt-moves.ts";
import { order } from "./order.ts";
import type { MachineSupply, World } from "./world.ts";

/**
 * Nodes that are not what their pool would make today: empty ones first, then who drifted longest. A node whose pods
 * fit elsewhere goes; else a spare is claimed first and the node goes when that is up; and where there is no spare the
 * node is drained and installed anew in its place. Of nodes with pods one a pool at a time.
 */
export function replaceDrifted(
  plan: Planner,
  world: World,
  planned: Plan,
  candidates: readonly Candidate[],
  allowance: Allowance,
): { readonly now: readonly Disruption[]; readonly held: readonly Held[] } {
  const now: Disruption[] = [];
  const held: Held[] = [];
  const busy = new Set<string>();
  for (const one of candidates.filter(({ node }) => node.drifted !== undefined).sort(byDrift)) {
    const { tenant, pool, node } = one;
    const reason =
      blocker(one) ??
      allowance.problem(pool, "Drifted") ??
      (!isEmpty(node) && busy.has(pool.name) ? "another node of its pool is replaced first" : undefined);
    const disruption = reason === undefined ? replace(plan, world, planned, one) : undefined;
    if (!disruption) {
      held.push({
        tenant: tenant.tenant,
        node: node.name,
        reason: reason ?? "its pods would find no place, not even on the same machine installed anew",
      });
      continue;
    }
    if (!isEmpty(node)) busy.add(pool.name);
    allowance.take(pool.name);
    now.push(disruption);
  }
  return { now, held };
}

function byDrift(a: Candidate, b: Candidate): number {
  return (
    Number(isEmpty(b.node)) - Number(isEmpty(a.node)) ||
    (b.node.driftedForS ?? 0) - (a.node.driftedForS ?? 0) ||
    (b.node.ageS ?? 0) - (a.node.ageS ?? 0) ||
    order(a.node.name, b.node.name)
  );
}

/** A pod's wish ends with its node's grace period, where there is one. */
function blocker({ node, pool }: Candidate): string | undefined {
  if (node.doNotDisrupt) return "karpenter.sh/do-not-disrupt";
  const graceS = node.terminationGracePeriodS ?? pool.disruption?.terminationGracePeriodS;
  return graceS === undefined ? podBlocker(node) : undefined;
}

function replace(plan: Planner, world: World, planned: Plan, one: Candidate): Disruption | undefined {
  const { tenant, pool, node } = one;
  const gone = new Set([node.name]);
  const common = {
    tenant: tenant.tenant,
    pool: pool.name,
    reason: "Drifted",
    nodes: [node.name],
    pods: (node.pods ?? []).map((pod) => pod.key),
  } as const;
  const message = node.drifted ?? "";
  const fixed = pool.replicas !== undefined;
  if (!fixed && moveOf(plan, world, planned, tenant, gone, NO_SUPPLY)) return { ...common, how: "delete", replacements: [], message };
  const spare = isEmpty(node) ? undefined : moveOf(plan, world, planned, tenant, gone, leftOver(world, planned));
  if (spare) return { ...common, how: "replace", replacements: spare.claims, message };
  const own = machineUnder(world, node.machine ?? node.name);
  const again = own && moveOf(plan, world, planned, tenant, gone, { machines: [own], catalog: [] }, false);
  if (!again && !(fixed && isEmpty(node))) return undefined;
  return { ...common, how: "reinstall", replacements: [], message: `${message}; no spare machine takes its pods meanwhile` };
}

/** The machine of a node as it will be: free, and its own tenant's data no hindrance. */
function machineUnder(world: World, name: string): MachineSupply | undefined {
  const machine = world.machines.find((one) => one.name === name);
  if (!machine) return undefined;
  const { unavailable: _, lastTenant: __, readyInS: ___, ...rest } = machine;
  return rest;
}

import type { Plan } from "./answer.ts";
import { allowedBy } from "./budgets.ts";
import { order } from "./order.ts";
import type { NodeSupply, PoolWorld, RunningPod, TenantWorld, World } from "./world.ts";

export type DisruptionReason = "Empty" | "Expired" | "Drifted" | "ScaledDown" | "Underutilized";

/** A node of a pool that could go. */
export interface Candidate {
  readonly tenant: TenantWorld;
  readonly pool: PoolWorld;
  readonly node: NodeSupply;
  /** What the machine costs against others. */
  readonly cost: number;
  /** What it would cost its pods to go: 1 for an empty node. */
  readonly disturbance: number;
}

/** Nodes that pods of this plan are expected on, or whose machine it takes: not to be disturbed by anything else. */
export function nominated(planned: Plan): ReadonlySet<string> {
  const expected = planned.placements.filter((one) => !one.planned).map((one) => `${one.tenant}/${one.node}`);
  const taken = (planned.actions ?? []).map((one) => `${one.from}/${one.node}`);
  return new Set([...expected, ...taken]);
}

/** The managed nodes that are up and not on their way out, in the order of their names. */
export function candidatesOf(world: World): Candidate[] {
  return world.tenants
    .flatMap((tenant) => {
      const pools = new Map(tenant.pools.map((pool) => [pool.name, pool]));
      return tenant.nodes.flatMap((node): Candidate[] => {
        const pool = node.pool === undefined ? undefined : pools.get(node.pool);
        if (!pool || node.leaving || !node.initialized) return [];
        return [{ tenant, pool, node, cost: node.cost ?? 1, disturbance: disturbance(node.pods ?? []) }];
      });
    })
    .sort((a, b) => order(a.tenant.tenant, b.tenant.tenant) || order(a.node.name, b.node.name));
}

/** As Karpenter weighs it: the eviction of a pod counts 1, less or more by deletion cost and priority. */
function disturbance(pods: readonly RunningPod[]): number {
  const cost = ({ deletionCost = 0, priority }: RunningPod) => clamp(1 + deletionCost / 2 ** 27 + priority / 2 ** 25);
  return pods.reduce((total, pod) => total + Math.max(0, cost(pod)), 1);
}

function clamp(cost: number): number {
  return Math.min(10, Math.max(-10, cost));
}

export function isEmpty(node: NodeSupply): boolean {
  return (node.pods ?? []).length === 0;
}

/** What of its pods keeps a node, when anything does. */
export function podBlocker(node: NodeSupply): string | undefined {
  for (const pod of node.pods ?? []) {
    if (pod.doNotDisrupt) return `pod ${pod.key} has karpenter.sh/do-not-disrupt`;
    if (pod.blockedBy !== undefined) return `pod ${pod.key} may not be evicted: ${pod.blockedBy}`;
  }
  return undefined;
}

/** How many more nodes of each pool may go. */
export class Allowance {
  private readonly world: World;
  private readonly going = new Map<string, number>();
  private readonly sizes = new Map<string, number>();

  constructor(world: World) {
    this.world = world;
    for (const node of world.tenants.flatMap((tenant) => tenant.nodes)) {
      if (node.pool === undefined) continue;
      this.sizes.set(node.pool, (this.sizes.get(node.pool) ?? 0) + 1);
      if (node.leaving) this.take(node.pool);
    }
  }

  /** Why one more may not go, when the budget is spent. */
  problem(pool: PoolWorld, reason: DisruptionReason): string | undefined {
    const size = this.sizes.get(pool.name) ?? 0;
    const most = allowedBy(pool.disruption?.budgets ?? [], reason, size, this.world.now);
    return (this.going.get(pool.name) ?? 0) < most ? undefined : `the pool's disruption budget (${most} of ${size} nodes)`;
  }

  take(pool: string): void {
    this.going.set(pool, (this.going.get(pool) ?? 0) + 1);
  }

  giveBack(pool: string): void {
    this.going.set(pool, (this.going.get(pool) ?? 0) - 1);
  }
}

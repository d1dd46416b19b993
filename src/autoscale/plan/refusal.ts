import { order, type PodKind } from "./kinds.ts";
import { selects } from "./offer.ts";
import type { TenantDemand } from "./tenant.ts";
import type { Turn } from "./turn.ts";
import type { MachineSupply, PoolRefusal, PoolWorld, Refusal } from "./world.ts";

/** Why the pods of a tenant that found no place must wait, kind by kind. */
export function refusalsOf(turn: Turn, machines: readonly MachineSupply[], taken: ReadonlySet<string>): Refusal[] {
  const { demand } = turn;
  const never = demand.unplannable.map((kind) => ({
    tenant: turn.name,
    pods: kind.pods.map((pod) => pod.key),
    reason: kind.refused ?? "",
    pools: [],
  }));
  const waiting = [...turn.left].map(([kind, pods]) => {
    const pools = demand.pools.map((pool) => poolRefusal(turn, kind, pool, machines, taken));
    return { tenant: turn.name, pods, reason: summary(pools), pools };
  });
  return [...never, ...waiting];
}

function poolRefusal(
  turn: Turn,
  kind: PodKind,
  pool: PoolWorld,
  machines: readonly MachineSupply[],
  taken: ReadonlySet<string>,
): PoolRefusal {
  const counts = new Map<string, number>();
  const selected = machines.filter((machine) => selects(pool.machineClass, machine));
  for (const machine of selected) {
    const reason = machineReason(turn, turn.demand, kind, pool, machine, taken);
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return {
    pool: pool.name,
    machineClass: pool.machineClass.name,
    ...(pool.problem === undefined ? {} : { problem: pool.problem }),
    machines: selected.length,
    because: [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count || order(a.reason, b.reason)),
  };
}

/** What could never be comes before what is so only now: that is what the reader can act on. */
function machineReason(
  turn: Turn,
  demand: TenantDemand,
  kind: PodKind,
  pool: PoolWorld,
  machine: MachineSupply,
  taken: ReadonlySet<string>,
): string {
  const suits = demand.suits(kind, pool, machine);
  if (typeof suits === "string") return suits;
  if (machine.unavailable !== undefined) return machine.unavailable;
  if (taken.has(machine.name)) return "in use";
  const limit = turn.limit(pool, machine);
  return limit === undefined ? "free only after this plan" : `over the pool's limit of ${limit}`;
}

function summary(pools: readonly PoolRefusal[]): string {
  return pools.length === 0 ? "no NodePool serves this tenant" : pools.map(poolText).join("; ");
}

/** `pool gpu: 0/2 machines: 1 in use, 1 lacks nvidia.com/gpu` */
function poolText(pool: PoolRefusal): string {
  if (pool.problem !== undefined) return `pool ${pool.pool}: ${pool.problem}`;
  if (pool.machines === 0) return `pool ${pool.pool}: class ${pool.machineClass} selects no machine`;
  return `pool ${pool.pool}: 0/${pool.machines} machines: ${pool.because.map((one) => `${one.count} ${one.reason}`).join(", ")}`;
}

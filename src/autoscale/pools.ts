import type { Clock } from "../core/clock.ts";
import { type Condition, withCondition } from "../core/conditions.ts";
import { LABEL_NODEPOOL } from "../core/names.ts";
import { add, formatResources, parseResources } from "../core/quantity.ts";
import { NODE_POOL, type NodeClaim, type NodePool } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";
import { judgePool, type PoolSurroundings } from "./world/index.ts";

/** Writes what is true of a pool into its status: whether it can be used and why not, and what it has. */
export async function reconcilePool(
  pool: NodePool,
  on: { readonly kube: Kube; readonly clock: Clock; readonly around: PoolSurroundings; readonly claims: readonly NodeClaim[] },
): Promise<void> {
  const status = poolStatus(pool, on.around, on.claims, on.clock.now());
  if (JSON.stringify(status) !== JSON.stringify(pool.status)) await on.kube.replaceStatus(NODE_POOL, { ...pool, status });
}

/** Pure. */
export function poolStatus(
  pool: NodePool,
  around: PoolSurroundings,
  claims: readonly NodeClaim[],
  now: Date,
): NonNullable<NodePool["status"]> {
  const { problems, classProblem } = judgePool(pool, around);
  const mine = claims.filter((claim) => claim.metadata.labels?.[LABEL_NODEPOOL] === pool.metadata.name);
  const { generation } = pool.metadata;
  let conditions: readonly Condition[] = pool.status?.conditions ?? [];
  const say = (type: string, problem: string | undefined, reason: string) => {
    const next = {
      type,
      status: problem === undefined ? ("True" as const) : ("False" as const),
      reason: problem === undefined ? type : reason,
      message: problem ?? "",
    };
    conditions = withCondition(conditions, { ...next, ...(generation === undefined ? {} : { observedGeneration: generation }) }, now);
  };
  const invalid = problems.length > 0 ? problems.join("; ") : undefined;
  say("ValidationSucceeded", invalid, "NodePoolValidationFailed");
  say("NodeClassReady", classProblem, "NodeClassNotReady");
  say("Ready", invalid ?? classProblem, invalid === undefined ? "NodeClassNotReady" : "NodePoolValidationFailed");
  return {
    ...pool.status,
    conditions,
    nodes: mine.length,
    resources: formatResources(add(...mine.map((claim) => parseResources(claim.status?.capacity)))),
  };
}

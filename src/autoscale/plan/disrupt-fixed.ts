import type { Disruption, Held } from "./disrupt.ts";
import { type Allowance, type Candidate, isEmpty, podBlocker } from "./disrupt-candidates.ts";
import { missingOf } from "./fixed-pools.ts";
import { order } from "./order.ts";

/**
 * Nodes of pools of a fixed size beyond that size: the empty first, then who is disturbed least. Somebody asked for it, so
 * no budget counts, as Karpenter's; what may not be disrupted stays.
 */
export function beyondReplicas(
  candidates: readonly Candidate[],
  allowance: Allowance,
): { readonly now: readonly Disruption[]; readonly held: readonly Held[] } {
  const now: Disruption[] = [];
  const held: Held[] = [];
  for (const [pool, list] of Map.groupBy(candidates, (one) => one.pool)) {
    const tenant = list[0]?.tenant;
    let over = tenant ? -missingOf(tenant, pool) : 0;
    if (over <= 0) continue;
    for (const { tenant: of, node } of [...list].sort(leastFirst)) {
      if (over === 0) break;
      const reason = node.doNotDisrupt ? "karpenter.sh/do-not-disrupt" : podBlocker(node);
      if (reason !== undefined) {
        held.push({ tenant: of.tenant, node: node.name, reason });
        continue;
      }
      over -= 1;
      allowance.take(pool.name);
      const message = `its pool has more than ${pool.replicas} machines`;
      const pods = (node.pods ?? []).map((pod) => pod.key);
      now.push({
        tenant: of.tenant,
        pool: pool.name,
        reason: "ScaledDown",
        how: "delete",
        nodes: [node.name],
        replacements: [],
        pods,
        message,
      });
    }
  }
  return { now, held };
}

function leastFirst(a: Candidate, b: Candidate): number {
  return Number(isEmpty(b.node)) - Number(isEmpty(a.node)) || a.disturbance - b.disturbance || order(a.node.name, b.node.name);
}

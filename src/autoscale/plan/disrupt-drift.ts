import type { Placement } from "./answer.ts";
import type { Disruption, Held } from "./disrupt.ts";
import { type Allowance, type Candidate, isEmpty, podBlocker } from "./disrupt-candidates.ts";
import { type Move, NO_SUPPLY, type Outlook } from "./disrupt-moves.ts";
import { order } from "./order.ts";

/**
 * Nodes that are not what their pool would make today: empty ones first, then who drifted longest. A node whose pods
 * fit elsewhere goes; else a spare is claimed first and the node goes when that is up; and where there is no spare the
 * node is drained and installed anew in its place. Of nodes with pods one a pool at a time.
 * @param displaced tenants whose pods lose nodes whatever is decided here: their places are not known
 */
export function replaceDrifted(
  outlook: Outlook,
  candidates: readonly Candidate[],
  allowance: Allowance,
  displaced: ReadonlySet<string>,
): { readonly now: readonly Disruption[]; readonly held: readonly Held[] } {
  const now: Disruption[] = [];
  const held: Held[] = [];
  const busy = new Set<string>();
  const expected = new Set<string>();
  for (const one of candidates.filter(({ node }) => node.drifted !== undefined).sort(byDrift)) {
    const { tenant, pool, node } = one;
    const reason =
      blocker(one) ??
      (displaced.has(tenant.tenant) ? "pods of its tenant lose another node" : undefined) ??
      (expected.has(`${tenant.tenant}/${node.name}`) ? "pods of another node that goes are expected on it" : undefined) ??
      allowance.problem(pool, "Drifted") ??
      (!isEmpty(node) && busy.has(pool.name) ? "another node of its pool is replaced first" : undefined);
    const found = reason === undefined ? replacement(outlook, one) : undefined;
    if (!found) {
      held.push({
        tenant: tenant.tenant,
        node: node.name,
        reason: reason ?? "its pods would find no place, not even on the same machine installed anew",
      });
      continue;
    }
    if (!isEmpty(node)) busy.add(pool.name);
    allowance.take(pool.name);
    outlook.carryOut(found.disruption, found.placements);
    for (const place of found.placements) expected.add(`${place.tenant}/${place.node}`);
    now.push(found.disruption);
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

/** How a node goes, and where its pods are then. */
interface Replacement {
  readonly disruption: Disruption;
  readonly placements: readonly Placement[];
}

function replacement(outlook: Outlook, { tenant: { tenant }, pool, node }: Candidate): Replacement | undefined {
  const gone = new Set([node.name]);
  const fixed = pool.replicas !== undefined;
  const going = (how: Disruption["how"], { claims, placements }: Move, message = node.drifted ?? ""): Replacement => ({
    disruption: {
      tenant,
      pool: pool.name,
      reason: "Drifted",
      how,
      nodes: [node.name],
      replacements: how === "replace" ? claims : [],
      pods: (node.pods ?? []).map((pod) => pod.key),
      message,
    },
    placements,
  });
  const elsewhere = fixed ? undefined : outlook.move(tenant, gone, NO_SUPPLY);
  if (elsewhere) return going("delete", elsewhere);
  const spare = isEmpty(node) ? undefined : outlook.move(tenant, gone, outlook.spare());
  if (spare) return going("replace", spare);
  const own = outlook.machineUnder(node);
  const again = own && outlook.move(tenant, gone, { machines: [own], catalog: [] }, false);
  const move = again ?? (fixed && isEmpty(node) ? NOBODY_MOVES : undefined);
  return move && going("reinstall", move, `${node.drifted}; no spare machine takes its pods meanwhile`);
}

const NOBODY_MOVES: Move = { claims: [], placements: [] };

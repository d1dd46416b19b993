import type { Node, Policy } from "./form.ts";

const COMING: ReadonlySet<string> = new Set(["pending", "launching", "launched", "installing", "joining", "registered", "awaitinghost"]);
const LEAVING: ReadonlySet<string> = new Set(["releasing", "wiping", "deleting", "draining", "failed"]);

/** Claimed, and no node that is up yet. */
export function isComing(node: Node): boolean {
  return node.claimOnly || COMING.has(phaseOf(node));
}

/** On its way out: as it says, or because it failed to come up in time. */
export function isLeaving(node: Node, policy: Policy): boolean {
  return node.deleting || node.failed === true || LEAVING.has(phaseOf(node)) || isOverdue(node, policy);
}

/** Longer in a phase on its way up than the policy allows. */
function isOverdue(node: Node, { phaseTimeoutS, timeouts = phaseTimeoutS }: Policy): boolean {
  if (!isComing(node)) return false;
  const limit = timeouts?.get(phaseOf(node)) ?? timeouts?.get("*");
  return limit !== undefined && (node.phaseS ?? node.ageS) > limit;
}

/** A claim that says no more is being installed. */
function phaseOf(node: Node): string {
  return node.phase ?? node.state ?? (node.claimOnly ? "installing" : "");
}

import { isTrue } from "../core/conditions.ts";
import type { ClaimRef, NodeClaim } from "../core/resources.ts";
import type { ClaimState } from "./life.ts";

/** What has become of the claim a Machine names. @param claim the NodeClaim of that name as the host control plane has it now */
export function claimState(ref: ClaimRef | undefined, claim: NodeClaim | undefined): ClaimState {
  if (!ref) return "none";
  if (!claim || claim.metadata.uid !== ref.uid) return "over";
  if (isTrue(claim.status?.conditions, "InstanceTerminating")) return "over";
  return claim.metadata.deletionTimestamp ? "ending" : "live";
}

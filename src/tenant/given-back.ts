import { condition, isTrue } from "../core/conditions.ts";
import { LABEL_TENANT, type TenantRef, tenantText } from "../core/names.ts";
import { ONE, parseResources } from "../core/quantity.ts";
import { NODE_CLAIM, type NodeClaim, VIRTUAL_CLUSTER } from "../core/resources.ts";
import type { GivenBack } from "../core/virtual-clusters.ts";
import type { Kube } from "../kube/index.ts";

/**
 * Adds what a tenant had of a node to its status, once. Called while the claim, which ends, is still there: who was cut off calls again.
 * @param kube the host control plane
 */
export async function keepGivenBack(kube: Kube, ref: TenantRef, ending: NodeClaim): Promise<void> {
  const cluster = await kube.get(VIRTUAL_CLUSTER, ref.name, ref.namespace);
  if (!cluster) return;
  const { items } = await kube.list(NODE_CLAIM, { labelSelector: `${LABEL_TENANT}=${tenantText(ref)}` });
  const before = cluster.status?.givenBack;
  const givenBack = afterClaim(before, ending, items);
  if (givenBack === undefined || givenBack === before) return;
  // by resourceVersion: what others write meanwhile stays
  await kube.replaceStatus(VIRTUAL_CLUSTER, { ...cluster, status: { ...cluster.status, givenBack } });
}

/** What was given back once this claim is counted; the very same when it adds nothing. Pure. */
export function afterClaim(before: GivenBack | undefined, ending: NodeClaim, existing: readonly NodeClaim[]): GivenBack | undefined {
  const { uid = "", deletionTimestamp = "" } = ending.metadata;
  const seconds = Math.round(heldSeconds(ending, new Date(deletionTimestamp)));
  // not a number where the claim says neither when it ended nor when its node had left
  if (!(seconds > 0) || before?.claims.includes(uid)) return before;
  return {
    nodeSeconds: (before?.nodeSeconds ?? 0) + seconds,
    gpuSeconds: (before?.gpuSeconds ?? 0) + seconds * gpusOf(ending),
    claims: [...(before?.claims ?? []).filter((one) => existing.some(({ metadata }) => metadata.uid === one)), uid],
  };
}

/** How long a claim's machine was its tenant's: by the claim's own times, from when it was taken until the node has left the tenant. */
export function heldSeconds(claim: NodeClaim, now: Date): number {
  const from = whenTrue(claim, "Launched");
  const until = whenTrue(claim, "InstanceTerminating") ?? now.getTime();
  return from === undefined ? 0 : Math.max(0, until - from) / 1_000;
}

/** Its node has left the tenant; the machine is wiped before the claim is gone. */
export function isGivenBack(claim: NodeClaim): boolean {
  return isTrue(claim.status?.conditions, "InstanceTerminating");
}

export function gpusOf({ status }: NodeClaim): number {
  const gpus = [...parseResources(status?.capacity)].filter(([name]) => GPU.test(name));
  return gpus.reduce((sum, [, amount]) => sum + Number(amount / ONE), 0);
}

const GPU = /\/gpu$/;

function whenTrue(claim: NodeClaim, type: string): number | undefined {
  const said = condition(claim.status?.conditions, type);
  return said?.status === "True" ? Date.parse(said.lastTransitionTime) : undefined;
}

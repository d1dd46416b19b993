import { LABEL_TENANT, parseTenant } from "../../core/names.ts";
import { ONE, parseQuantity, parseResources, type Resources } from "../../core/quantity.ts";
import type { NodeClaim } from "../../core/resources.ts";
import type { ResourceQuota } from "../../kube/index.ts";
import type { MachineSupply, Project } from "../plan/index.ts";

/** In a ResourceQuota's `spec.hard`: nodes of all the project's tenants. NodeClaims are in no namespace, so upstream counts none. */
const QUOTA_NODES = "count/nodeclaims.karpenter.sh";
/** Before the name of a resource of nodes, such as `nvidia.com/gpu`; upstream counts what pods of the host ask for, of which there are none. */
const REQUESTS = "requests.";

/**
 * What projects may have, from the ResourceQuotas of their namespaces. Of several the tightest counts; one that is for some pods
 * alone says nothing of nodes.
 * @param tenants those whose nodes are counted already
 */
export function projectsOf(
  quotas: readonly ResourceQuota[],
  claims: readonly NodeClaim[],
  tenants: ReadonlySet<string>,
  machineOf: (claim: NodeClaim) => MachineSupply | undefined,
): Project[] {
  const byProject = Map.groupBy(quotas.filter(isWhole), (quota) => quota.metadata.namespace ?? "");
  return [...byProject].flatMap(([name, list]): Project[] => {
    const limits = new Map<string, number>();
    for (const [unit, limit] of list.flatMap(limitsOf)) limits.set(unit, Math.min(limit, limits.get(unit) ?? limit));
    if (limits.size === 0) return [];
    const elsewhere = claims.flatMap((claim): Resources[] => {
      const tenant = claim.metadata.labels?.[LABEL_TENANT] ?? "";
      if (tenants.has(tenant) || parseTenant(tenant)?.namespace !== name) return [];
      return [machineOf(claim)?.capacity ?? parseResources(claim.status?.capacity)];
    });
    return [{ name, limits, ...(elsewhere.length > 0 ? { elsewhere } : {}) }];
  });
}

function isWhole({ metadata, spec }: ResourceQuota): boolean {
  return !metadata.deletionTimestamp && !spec?.scopeSelector && (spec?.scopes ?? []).length === 0;
}

function limitsOf({ spec }: ResourceQuota): [string, number][] {
  return Object.entries(spec?.hard ?? {}).flatMap(([name, text]): [string, number][] => {
    const unit = unitOf(name);
    const amount = parseQuantity(text);
    return unit === undefined || amount === undefined ? [] : [[unit, Number(amount / ONE)]];
  });
}

function unitOf(name: string): string | undefined {
  if (name === QUOTA_NODES) return "machines";
  // cpu and memory of pods are none of nodes
  return name.startsWith(REQUESTS) && name.includes("/") ? name.slice(REQUESTS.length) : undefined;
}

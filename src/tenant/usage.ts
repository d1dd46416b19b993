import { LABEL_TENANT, refOf, tenantText } from "../core/names.ts";
import type { NodeClaim, VirtualCluster } from "../core/resources.ts";
import type { SleepState, SleepStatus } from "../core/virtual-clusters.ts";
import { gpusOf, heldSeconds, isGivenBack } from "./given-back.ts";

/** What a tenant has and takes. */
export interface TenantUsage {
  readonly project: string;
  readonly name: string;
  readonly phase: string;
  readonly sleep: SleepState;
  /** Machines that are, or are becoming, nodes of it. */
  readonly nodes: number;
  readonly gpus: number;
  /** Of all the nodes it ever had. */
  readonly nodeHours: number;
  readonly gpuHours: number;
  /** Of its control plane. */
  readonly awakeHours: number;
  /** Of its control plane; absent where nobody measured it. */
  readonly cpuSeconds?: number;
  readonly memoryBytes?: number;
  readonly swappedBytes?: number;
}

/** What was measured of a control plane. */
export interface ControlPlaneUse {
  readonly cpuSeconds: number;
  /** Resident; what is swapped out is not. */
  readonly memoryBytes: number;
  readonly swappedBytes: number;
}

const HOUR_S = 3_600;

/**
 * Tenants with what they have, the largest first; pure.
 * @param measured by `namespace.name`
 */
export function usageOf(
  clusters: readonly VirtualCluster[],
  claims: readonly NodeClaim[],
  now: Date,
  measured: ReadonlyMap<string, ControlPlaneUse> = new Map(),
): TenantUsage[] {
  const byTenant = Map.groupBy(claims, (claim) => claim.metadata.labels?.[LABEL_TENANT]);
  const usages = clusters.map((cluster): TenantUsage => {
    const { metadata, status } = cluster;
    const ref = refOf(cluster);
    const { nodeSeconds = 0, gpuSeconds = 0, claims: counted = [] } = status?.givenBack ?? {};
    const had = (byTenant.get(tenantText(ref)) ?? [])
      .filter(({ metadata: { uid = "" } }) => !counted.includes(uid))
      .map((claim) => ({ isHeld: !isGivenBack(claim), gpus: gpusOf(claim), seconds: heldSeconds(claim, now) }));
    const held = had.filter(({ isHeld }) => isHeld);
    return {
      project: ref.namespace,
      name: ref.name,
      phase: status?.phase ?? "Creating",
      sleep: status?.sleep?.state ?? "awake",
      nodes: held.length,
      gpus: total(held.map((one) => one.gpus)),
      nodeHours: (nodeSeconds + total(had.map(({ seconds }) => seconds))) / HOUR_S,
      gpuHours: (gpuSeconds + total(had.map(({ seconds, gpus }) => seconds * gpus))) / HOUR_S,
      awakeHours: awakeHours(status?.sleep, metadata.creationTimestamp, now),
      ...measured.get(tenantText(ref)),
    };
  });
  return usages.sort((a, b) => b.gpus - a.gpus || b.nodes - a.nodes || compare(a.project, b.project) || compare(a.name, b.name));
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A control plane that says nothing of sleep was awake since it was made. */
function awakeHours(sleep: SleepStatus | undefined, created: string | undefined, now: Date): number {
  const since = Date.parse(sleep?.since ?? created ?? "");
  const running =
    sleep !== undefined && sleep.state !== "awake" ? 0 : Math.max(0, now.getTime() - (Number.isNaN(since) ? now.getTime() : since));
  return (running / 1_000 + (sleep?.awakeSeconds ?? 0)) / HOUR_S;
}

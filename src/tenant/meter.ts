import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { NODE_CLAIM, VIRTUAL_CLUSTER } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";
import type { Metrics } from "../observe/index.ts";
import type { SwapStatus } from "../supervise/index.ts";
import { type ControlPlaneUse, type TenantUsage, usageOf } from "./usage.ts";

export interface UsageMeterOptions {
  /** The host control plane. */
  readonly kube: Kube;
  /** What control planes take, by `project.name` of the tenant. */
  measured(): Promise<ReadonlyMap<string, ControlPlaneUse>>;
  swap(): Promise<SwapStatus>;
  readonly metrics: Pick<
    Metrics,
    | "swapBytes"
    | "tenantCpuSeconds"
    | "tenantMemory"
    | "tenantAwakeSeconds"
    | "tenantNodes"
    | "tenantGpus"
    | "tenantNodeSeconds"
    | "tenantGpuSeconds"
  >;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What tenants have and take: asked for, and kept up to date as metrics. */
export interface UsageMeter {
  usage(): Promise<readonly TenantUsage[]>;
  stop(): Promise<void>;
}

const EVERY_MS = 15_000;

export function usageMeter({ kube, measured, swap, metrics, clock, log }: UsageMeterOptions): UsageMeter {
  const ending = new AbortController();
  let isSwapMissed = false;

  async function usage(): Promise<readonly TenantUsage[]> {
    const [clusters, claims, taken] = await Promise.all([kube.list(VIRTUAL_CLUSTER), kube.list(NODE_CLAIM), measured()]);
    return usageOf(clusters.items, claims.items, clock.now(), taken);
  }

  /** A supervisor of before the upgrade has no answer, and what tenants take is counted all the same. */
  async function swapNow(): Promise<SwapStatus | undefined> {
    try {
      const status = await swap();
      isSwapMissed = false;
      return status;
    } catch (error) {
      if (!isSwapMissed)
        log.warn({ reason: reasonOf(error) }, "what swap is used is not known; a supervisor older than this daemon has to be restarted");
      isSwapMissed = true;
      return undefined;
    }
  }

  async function count(): Promise<void> {
    const [all, swapped] = await Promise.all([usage(), swapNow()]);
    for (const gauge of [
      metrics.tenantCpuSeconds,
      metrics.tenantMemory,
      metrics.tenantAwakeSeconds,
      metrics.tenantNodes,
      metrics.tenantGpus,
      metrics.tenantNodeSeconds,
      metrics.tenantGpuSeconds,
      metrics.swapBytes,
    ])
      gauge.reset();
    if (swapped?.kind !== undefined) {
      metrics.swapBytes.set({ kind: swapped.kind, what: "size" }, swapped.bytes);
      metrics.swapBytes.set({ kind: swapped.kind, what: "used" }, swapped.usedBytes);
    }
    for (const one of all) {
      const tenant = `${one.project}.${one.name}`;
      metrics.tenantNodes.set({ tenant }, one.nodes);
      metrics.tenantGpus.set({ tenant }, one.gpus);
      metrics.tenantNodeSeconds.set({ tenant }, one.nodeHours * 3_600);
      metrics.tenantGpuSeconds.set({ tenant }, one.gpuHours * 3_600);
      metrics.tenantAwakeSeconds.set({ tenant }, one.awakeHours * 3_600);
      if (one.cpuSeconds !== undefined) metrics.tenantCpuSeconds.set({ tenant }, one.cpuSeconds);
      if (one.memoryBytes !== undefined) metrics.tenantMemory.set({ tenant, what: "resident" }, one.memoryBytes);
      if (one.swappedBytes !== undefined) metrics.tenantMemory.set({ tenant, what: "swapped" }, one.swappedBytes);
    }
  }

  const counting = (async () => {
    while (!ending.signal.aborted) {
      await count().catch((error: unknown) => log.debug({ reason: reasonOf(error) }, "what tenants take could not be counted"));
      await clock.sleep(EVERY_MS, ending.signal).catch(() => {});
    }
  })();

  return {
    usage,
    async stop() {
      ending.abort(new Error("the meter of tenants ends"));
      await counting;
    },
  };
}

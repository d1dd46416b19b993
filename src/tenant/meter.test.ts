import type { Logger } from "pino";
import { expect, test } from "vitest";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";
import { createMetrics } from "../observe/index.ts";
import type { SwapStatus } from "../supervise/index.ts";
import { usageMeter } from "./meter.ts";

const ACME: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "team" },
  spec: {},
  status: { phase: "Ready" },
};

test("a supervisor that knows of no swap is said once, and what tenants take is counted on", async () => {
  const looks: (SwapStatus | undefined)[] = [undefined, undefined, { on: true, kind: "encrypted", bytes: 9, usedBytes: 4 }];
  const metrics = createMetrics();
  const warned: string[] = [];
  let cpuSeconds = 0;
  const counted: unknown[] = [];
  const shown = async () => {
    const [cpu, swap] = await Promise.all([metrics.tenantCpuSeconds.get(), metrics.swapBytes.get()]);
    return [...cpu.values, ...swap.values].map(({ value }) => value);
  };
  await new Promise<void>((resolve) => {
    const meter = usageMeter({
      kube: { list: async (resource: unknown) => ({ items: resource === VIRTUAL_CLUSTER ? [ACME] : [] }) } as unknown as Kube,
      measured: async () => new Map([["team.acme", { cpuSeconds: ++cpuSeconds, memoryBytes: 1, swappedBytes: 0 }]]),
      swap: async () => {
        const look = looks.shift();
        if (!look) throw new Error("GET /swap is not served");
        return look;
      },
      metrics,
      clock: {
        now: () => new Date(0),
        async sleep() {
          counted.push(await shown());
          if (looks.length === 0) void meter.stop().then(resolve);
        },
      },
      log: { warn: ({ reason }: { reason: string }) => warned.push(reason), debug: () => {} } as unknown as Logger,
    });
  });
  expect(counted).toEqual([[1], [2], [3, 9, 4]]);
  expect(warned).toEqual(["GET /swap is not served"]);
});

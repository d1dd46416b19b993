import type { Logger } from "pino";
import { expect, test } from "vitest";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";
import { createMetrics, type Metrics } from "../observe/index.ts";
import type { SwapStatus } from "../supervise/index.ts";
import { usageMeter } from "./meter.ts";

const ACME: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "team" },
  spec: {},
  status: { phase: "Ready", givenBack: { nodeSeconds: 7_200, gpuSeconds: 57_600, claims: [] } },
};

/** What the meter finds when it counts. */
interface Found {
  readonly clusters: readonly VirtualCluster[];
  readonly swap?: SwapStatus;
}

/** One meter counts each of these in turn: what `shown` says after each, and what was warned of. */
async function countAll<T>(all: readonly Found[], shown: (metrics: Metrics) => Promise<T>) {
  const left = [...all];
  const metrics = createMetrics();
  const warned: string[] = [];
  const counted: T[] = [];
  await new Promise<void>((resolve) => {
    const meter = usageMeter({
      kube: { list: async (resource: unknown) => ({ items: resource === VIRTUAL_CLUSTER ? left[0]?.clusters : [] }) } as unknown as Kube,
      measured: async () => new Map([["team.acme", { cpuSeconds: counted.length + 1, memoryBytes: 1, swappedBytes: 0 }]]),
      swap: async () => {
        if (!left[0]?.swap) throw new Error("GET /swap is not served");
        return left[0].swap;
      },
      metrics,
      clock: {
        now: () => new Date(0),
        async sleep() {
          counted.push(await shown(metrics));
          left.shift();
          if (left.length === 0) void meter.stop().then(resolve);
        },
      },
      log: { warn: ({ reason }: { reason: string }) => warned.push(reason), debug: () => {} } as unknown as Logger,
    });
  });
  return { counted, warned };
}

test("a supervisor that knows of no swap is said once, and what tenants take is counted on", async () => {
  const found = { clusters: [ACME] };
  const { counted, warned } = await countAll(
    [found, found, { ...found, swap: { on: true, kind: "encrypted", bytes: 9, usedBytes: 4 } }],
    async ({ tenantCpuSeconds, swapBytes }) => {
      const [cpu, swap] = await Promise.all([tenantCpuSeconds.get(), swapBytes.get()]);
      return [...cpu.values, ...swap.values].map(({ value }) => value);
    },
  );
  expect(counted).toEqual([[1], [2], [3, 9, 4]]);
  expect(warned).toEqual(["GET /swap is not served"]);
});

test("hours are all that a tenant ever had, from the first count on; of a tenant that is gone nothing is shown", async () => {
  const { counted } = await countAll([{ clusters: [ACME] }, { clusters: [] }], async (metrics) => {
    const lines = (await metrics.text()).split("\n");
    return lines.filter((line) => /^ironwright_tenant_.*\{/.test(line) && line.includes("team.acme"));
  });
  expect(counted[0]).toEqual(
    expect.arrayContaining([
      'ironwright_tenant_node_seconds{tenant="team.acme"} 7200',
      'ironwright_tenant_gpu_seconds{tenant="team.acme"} 57600',
    ]),
  );
  expect(counted[1]).toEqual([]);
});

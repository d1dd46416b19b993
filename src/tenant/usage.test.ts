import { expect, test } from "vitest";
import type { NodeClaim, VirtualCluster } from "../core/resources.ts";
import { usageOf } from "./usage.ts";

const NOW = new Date("2026-03-01T12:00:00Z");

function cluster(name: string, status: VirtualCluster["status"] = { phase: "Ready" }): VirtualCluster {
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata: { name, namespace: "team" }, spec: {}, status };
}

function claim(tenant: string, since: string, capacity?: Record<string, string>): NodeClaim {
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name: `c-${since}`, creationTimestamp: since, labels: { "ironwright.dev/tenant": tenant } },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "x" }, requirements: [] },
    ...(capacity ? { status: { capacity } } : {}),
  };
}

test("nodes, GPUs and their hours, the largest first; what is measured is added", () => {
  const usage = usageOf(
    [
      cluster("idle", { phase: "Ready", sleep: { state: "hibernated", since: "2026-03-01T00:00:00Z", awakeSeconds: 5_400 } }),
      cluster("new", {}),
      cluster("acme", { phase: "Ready", sleep: { state: "awake", since: "2026-03-01T10:00:00Z", awakeSeconds: 3_600 } }),
    ],
    [
      claim("team.acme", "2026-03-01T10:00:00Z", { cpu: "64", "nvidia.com/gpu": "8" }),
      claim("team.acme", "2026-03-01T11:30:00Z", { "amd.com/gpu": "4" }),
      claim("team.new", "2026-03-02T00:00:00Z"),
      claim("other.acme", "2026-03-01T10:00:00Z", { "nvidia.com/gpu": "8" }),
    ],
    NOW,
    new Map([["team.idle", { cpuSeconds: 3, memoryBytes: 0, swappedBytes: 5 }]]),
  );
  expect(usage).toEqual([
    { project: "team", name: "acme", phase: "Ready", sleep: "awake", nodes: 2, gpus: 12, nodeHours: 2.5, gpuHours: 18, awakeHours: 3 },
    { project: "team", name: "new", phase: "Creating", sleep: "awake", nodes: 1, gpus: 0, nodeHours: 0, gpuHours: 0, awakeHours: 0 },
    {
      project: "team",
      name: "idle",
      phase: "Ready",
      sleep: "hibernated",
      nodes: 0,
      gpus: 0,
      nodeHours: 0,
      gpuHours: 0,
      awakeHours: 1.5,
      cpuSeconds: 3,
      memoryBytes: 0,
      swappedBytes: 5,
    },
  ]);
});

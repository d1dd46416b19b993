import { expect, test } from "vitest";
import type { NodeClaim, VirtualCluster } from "../core/resources.ts";
import { usageOf } from "./usage.ts";

const NOW = new Date("2026-03-01T12:00:00Z");

function cluster(name: string, status: VirtualCluster["status"] = { phase: "Ready" }): VirtualCluster {
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata: { name, namespace: "team" }, spec: {}, status };
}

function claim(tenant: string, launched: string, capacity?: Record<string, string>, left?: string): NodeClaim {
  const since = { Launched: launched, ...(left ? { InstanceTerminating: left } : {}) };
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name: `c-${launched}`, uid: `u-${launched}`, labels: { "ironwright.dev/tenant": tenant } },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "x" }, requirements: [] },
    status: {
      conditions: Object.entries(since).map(([type, lastTransitionTime]) => ({
        type,
        status: "True",
        reason: type,
        message: "",
        lastTransitionTime,
      })),
      ...(capacity ? { capacity } : {}),
    },
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

test("hours of nodes that were given back stay; a claim counts until its node has left, and once", () => {
  const givenBack = { nodeSeconds: 7_200, gpuSeconds: 57_600, claims: ["u-2026-03-01T09:00:00Z", "u-of-one-that-is-gone"] };
  const gpus = { "nvidia.com/gpu": "8" };
  const [usage] = usageOf(
    [cluster("acme", { phase: "Ready", givenBack })],
    [
      claim("team.acme", "2026-03-01T09:00:00Z", gpus, "2026-03-01T11:00:00Z"),
      claim("team.acme", "2026-03-01T10:00:00Z", gpus, "2026-03-01T10:30:00Z"),
      claim("team.acme", "2026-03-01T11:00:00Z", gpus),
    ],
    NOW,
  );
  expect(usage).toMatchObject({ nodes: 1, gpus: 8, nodeHours: 3.5, gpuHours: 28 });
});

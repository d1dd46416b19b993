import { describe, expect, test } from "vitest";
import { formatResources } from "../../core/quantity.ts";
import type { Pod, PodSpec } from "../../kube/index.ts";
import { hostPorts, isUnschedulable, isWorkload, pendingPod, podNeeds, podRequests, runningPod } from "./pods.ts";
import { storageOf } from "./volumes.ts";

const box = (requests: Record<string, string>, more: object = {}) => ({ name: "c", resources: { requests }, ...more });

function pod(spec: Partial<PodSpec> = {}, more: Partial<Pod> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "x", namespace: "default" },
    spec: { containers: [], ...spec },
    status: { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] },
    ...more,
  };
}

describe("requests", () => {
  test.each<[string, Partial<PodSpec>, Record<string, string>]>([
    ["containers add up", { containers: [box({ cpu: "1" }), box({ cpu: "500m", memory: "1Gi" })] }, { cpu: "1500m", memory: "1Gi" }],
    [
      "the largest init container counts when it is larger",
      { containers: [box({ cpu: "1" })], initContainers: [box({ cpu: "3" }), box({ cpu: "2" })] },
      { cpu: "3" },
    ],
    [
      "a sidecar runs beside the containers, and beside the init containers after it",
      {
        containers: [box({ cpu: "1" })],
        initContainers: [box({ cpu: "2" }), box({ cpu: "1" }, { restartPolicy: "Always" }), box({ cpu: "3" })],
      },
      { cpu: "4" },
    ],
    ["overhead is added", { containers: [box({ cpu: "1" })], overhead: { cpu: "250m" } }, { cpu: "1250m" }],
    [
      "pod-level requests stand for the containers'",
      { containers: [box({ cpu: "1", "nvidia.com/gpu": "1" })], resources: { requests: { cpu: "4" } } },
      { cpu: "4", "nvidia.com/gpu": "1" },
    ],
  ])("%s", (_name, spec, expected) => {
    expect(formatResources(podRequests({ containers: [], ...spec }))).toEqual(expected);
  });
});

describe("who waits for a node", () => {
  test("the scheduler's verdict decides", () => {
    expect(isUnschedulable(pod())).toBe(true);
    expect(isUnschedulable(pod({}, { status: { phase: "Pending" } }))).toBe(false);
  });

  test.each<[string, Pod]>([
    ["bound", pod({ nodeName: "n" })],
    ["gated", pod({ schedulingGates: [{ name: "g" }] })],
    [
      "gated, by the scheduler's word",
      pod({}, { status: { conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }] } }),
    ],
    [
      "about to preempt",
      pod({}, { status: { nominatedNodeName: "n", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] } }),
    ],
    ["on its way out", pod({}, { metadata: { name: "x", deletionTimestamp: "2026-01-01T00:00:00Z" } })],
    [
      "a daemon's",
      pod({}, { metadata: { name: "x", ownerReferences: [{ apiVersion: "apps/v1", kind: "DaemonSet", name: "d", uid: "1" }] } }),
    ],
    ["a static pod's shadow", pod({}, { metadata: { name: "x", annotations: { "kubernetes.io/config.mirror": "h" } } })],
  ])("not a pod that is %s", (_name, one) => {
    expect(isUnschedulable(one)).toBe(false);
  });

  test("daemons, shadows and finished pods leave a node empty", () => {
    expect(isWorkload(pod({ nodeName: "n" }, { status: { phase: "Running" } }))).toBe(true);
    expect(isWorkload(pod({ nodeName: "n" }, { status: { phase: "Succeeded" } }))).toBe(false);
  });
});

test("the node selector is part of every affinity alternative; an empty alternative is none", () => {
  const affinity = {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: "zone", operator: "In" as const, values: ["eu"] }] },
          {},
          { matchFields: [{ key: "metadata.name", operator: "In" as const, values: ["n"] }] },
        ],
      },
    },
  };
  expect(podNeeds({ containers: [], nodeSelector: { arch: "amd64" }, affinity }).terms).toEqual([
    [
      { key: "arch", operator: "In", values: ["amd64"] },
      { key: "zone", operator: "In", values: ["eu"] },
    ],
    [
      { key: "arch", operator: "In", values: ["amd64"] },
      { key: "metadata.name", operator: "In", values: ["n"] },
    ],
  ]);
});

test("host ports, those of the host's network included", () => {
  const spec = (hostNetwork: boolean): PodSpec => ({
    containers: [{ name: "c", ports: [{ containerPort: 80 }, { containerPort: 53, hostPort: 5353, protocol: "UDP" }] }],
    hostNetwork,
  });
  expect(hostPorts(spec(false))).toEqual([{ ip: "", port: 5353, protocol: "UDP" }]);
  expect(hostPorts(spec(true))).toHaveLength(2);
});

describe("volumes", () => {
  const meta = (name: string) => ({ metadata: { name, namespace: "default" } });
  const zoned = (zone: string) => ({ matchExpressions: [{ key: "zone", operator: "In" as const, values: [zone] }] });
  const storage = storageOf({
    claims: [
      { apiVersion: "v1", kind: "PersistentVolumeClaim", ...meta("bound"), spec: { volumeName: "pv" } },
      { apiVersion: "v1", kind: "PersistentVolumeClaim", ...meta("late"), spec: { storageClassName: "late" } },
      { apiVersion: "v1", kind: "PersistentVolumeClaim", ...meta("early"), spec: { storageClassName: "early" } },
    ],
    volumes: [
      {
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name: "pv" },
        spec: { nodeAffinity: { required: { nodeSelectorTerms: [zoned("a"), zoned("b")] } } },
      },
    ],
    classes: [
      {
        apiVersion: "storage.k8s.io/v1",
        kind: "StorageClass",
        metadata: { name: "late" },
        volumeBindingMode: "WaitForFirstConsumer",
        allowedTopologies: [{ matchLabelExpressions: [{ key: "zone", values: ["a", "c"] }] }],
      },
      { apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name: "early" } },
    ],
  });
  const needs = (claimName: string) =>
    pendingPod(pod({ volumes: [{ name: "data", persistentVolumeClaim: { claimName } }] }), storage).needs;

  test("a bound one is where its volume is, one that waits for its pod where its class allows", () => {
    expect(needs("bound").volumes).toEqual([
      [[{ key: "zone", operator: "In", values: ["a"] }], [{ key: "zone", operator: "In", values: ["b"] }]],
    ]);
    expect(needs("late").volumes).toEqual([[[{ key: "zone", operator: "In", values: ["a", "c"] }]]]);
    const ephemeral = { name: "scratch", ephemeral: { volumeClaimTemplate: { spec: { storageClassName: "late" } } } };
    expect(pendingPod(pod({ volumes: [ephemeral] }), storage).needs.volumes).toHaveLength(1);
  });

  test("what cannot be had yet keeps the pod waiting, with its reason", () => {
    expect(needs("early").unsupported).toBe("its volume data: its PersistentVolumeClaim is not bound yet");
    expect(needs("gone").unsupported).toBe("its volume data: there is no PersistentVolumeClaim gone");
  });
});

test("what a pod wants of its neighbours is read as it stands, the pod's own labels where keys name them", () => {
  const spread = {
    topologyKey: "zone",
    maxSkew: 1,
    whenUnsatisfiable: "ScheduleAnyway" as const,
    labelSelector: {},
    matchLabelKeys: ["rev"],
  };
  const term = { topologyKey: "zone", labelSelector: { matchLabels: { app: "x" } }, mismatchLabelKeys: ["rev"] };
  const shy = pod(
    {
      topologySpreadConstraints: [spread],
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [term],
          preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 7, podAffinityTerm: { topologyKey: "zone" } }],
        },
        nodeAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 3, preference: { matchExpressions: [{ key: "a", operator: "Exists" }] } },
          ],
        },
      },
    },
    { metadata: { name: "x", namespace: "default", labels: { rev: "2" } } },
  );
  expect(runningPod(shy)).toMatchObject({ key: "default/x", bare: true });
  expect(runningPod(shy).needs).toMatchObject({
    spread: [{ key: "zone", maxSkew: 1, hard: false, selector: { matchExpressions: [{ key: "rev", operator: "In", values: ["2"] }] } }],
    antiAffinity: [
      { key: "zone", selector: { matchLabels: { app: "x" }, matchExpressions: [{ key: "rev", operator: "NotIn", values: ["2"] }] } },
    ],
    preferredAntiAffinity: [{ key: "zone", weight: 7 }],
    preferred: [{ weight: 3, term: [{ key: "a", operator: "Exists" }] }],
  });
  expect(podNeeds({ containers: [] })).not.toHaveProperty("spread");
});

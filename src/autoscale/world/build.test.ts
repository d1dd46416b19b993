import { describe, expect, test } from "vitest";
import type { Condition } from "../../core/conditions.ts";
import { formatResources } from "../../core/quantity.ts";
import type { Machine, MachineClass, NodeClaim, NodePool, OSImage, VirtualCluster } from "../../core/resources.ts";
import type { Node, Pod, ResourceQuota } from "../../kube/index.ts";
import { plan } from "../plan/index.ts";
import { poolStatus } from "../pools.ts";
import { type Known, surroundings, worldOf } from "./build.ts";
import { machineSupply } from "./machines.ts";
import { judgePool } from "./pools.ts";

const NOW = new Date("2026-01-01T00:00:00Z");

function machine(
  name: string,
  more: { metadata?: object; spec?: Partial<Machine["spec"]>; status?: Partial<NonNullable<Machine["status"]>> } = {},
): Machine {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "Machine",
    metadata: { name, ...more.metadata },
    spec: {
      bmc: { address: "redfish://x", credentialsSecret: "s" },
      bootMAC: "52:54:00:00:00:01",
      position: { site: "fra 1", rack: "r7" },
      ...more.spec,
    },
    status: {
      phase: "Available",
      inventory: {
        system: { manufacturer: "m", product: "p", serial: "s", uuid: "u" },
        firmware: "uefi",
        architecture: "x86_64",
        cpu: { model: "c", sockets: 1, cores: 2, threads: 4 },
        memoryBytes: 1536 * 2 ** 20,
        disks: [
          { path: "/dev/nvme0n1", name: "nvme0n1", serial: "d", model: "disk", sizeBytes: 8 * 2 ** 30, rotational: false, signatures: [] },
        ],
        nics: [],
        gpus: [0, 1].map((n) => ({ address: `0000:0${n}:00.0`, id: "10de:2330", model: "NVIDIA H100 80GB", numaNode: n })),
      },
      ...more.status,
    },
  };
}

const truth = (type: string, status: Condition["status"] = "True"): Condition => ({
  type,
  status,
  reason: type,
  message: "",
  lastTransitionTime: "2026-01-01T00:00:00Z",
});

describe("machines", () => {
  test("capacity and labels come from the inventory", () => {
    const supply = machineSupply(machine("gpu-1"), new Set(), NOW);
    expect(supply.unavailable).toBeUndefined();
    expect(formatResources(supply.capacity)).toEqual({
      cpu: "4",
      memory: "1536Mi",
      pods: "110",
      "ephemeral-storage": "8Gi",
      "nvidia.com/gpu": "2",
    });
    expect(formatResources(supply.allocatable)).toMatchObject({ memory: "1328Mi", "nvidia.com/gpu": "2" });
    expect(supply.nodeLabels).toMatchObject({
      "kubernetes.io/arch": "amd64",
      "kubernetes.io/hostname": "gpu-1",
      "topology.kubernetes.io/zone": "fra-1",
      "topology.ironwright.dev/rack": "r7",
      "ironwright.dev/gpu-count": "2",
      "ironwright.dev/gpu-model": "NVIDIA-H100-80GB",
    });
  });

  const disk = machine("x").status?.inventory?.disks[0];
  test.each<[string, Parameters<typeof machine>[1]]>([
    ["being removed", { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }],
    ["in maintenance", { spec: { maintenance: true } }],
    ["quarantined", { status: { conditions: [truth("Quarantined")] } }],
    ["in use", { spec: { claimRef: { name: "c", uid: "u", tenant: "a.b" } } }],
    ["being wiped", { spec: { claimRef: { name: "c", uid: "u", tenant: "a.b" } }, status: { phase: "Releasing" } }],
    ["not wiped yet", { status: { lastTenant: "a.b" } }],
    ["not inspected yet", { status: { phase: "Inspecting" } }],
    ["out of reach", { status: { conditions: [truth("BMCReachable", "False")] } }],
    ["failed a moment ago", { metadata: { annotations: { "ironwright.dev/claim-failed-at": "2025-12-31T23:55:00Z" } } }],
  ])("%s", (why, more) => {
    expect(machineSupply(machine("m", more), new Set(), NOW).unavailable).toBe(why);
  });

  test("a failure of long ago is forgotten; a claim that names the machine has it", () => {
    const old = machine("m", { metadata: { annotations: { "ironwright.dev/claim-failed-at": "2025-12-31T23:00:00Z" } } });
    expect(machineSupply(old, new Set(), NOW).unavailable).toBeUndefined();
    expect(machineSupply(old, new Set(["m"]), NOW).unavailable).toBe("in use");
  });

  test("data needs consent, except after our own wipe", () => {
    const inventory = machine("m").status?.inventory;
    if (!inventory || !disk) throw new Error("fixture");
    const dirty = { ...inventory, disks: [{ ...disk, signatures: ["gpt"] }] };
    const of = (spec: Partial<Machine["spec"]>, status = {}) =>
      machineSupply(machine("m", { spec, status: { inventory: dirty, ...status } }), new Set(), NOW).unavailable;
    expect(of({})).toBe("with data nobody consented to erase");
    expect(of({ erase: true })).toBeUndefined();
    expect(of({}, { lastWipe: { at: "2026-01-01T00:00:00Z", disks: [] } })).toBeUndefined();
  });
});

const CLASS: MachineClass = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "MachineClass",
  metadata: { name: "h100" },
  spec: { image: "node" },
};
const IMAGE: OSImage = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "OSImage",
  metadata: { name: "node" },
  spec: { url: "file:///x", sha256: "abc", format: "ext4+zstd", sizeBytes: 1 },
};
const CLUSTER: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "default" },
  spec: {},
};

function pool(
  more: {
    labels?: Record<string, string>;
    spec?: Partial<NodePool["spec"]>;
    template?: Partial<NodePool["spec"]["template"]["spec"]>;
  } = {},
): NodePool {
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodePool",
    metadata: { name: "gpu", uid: "p", generation: 3, labels: more.labels ?? { "ironwright.dev/tenant": "default.acme" } },
    spec: {
      template: { spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" }, ...more.template } },
      ...more.spec,
    },
  };
}

describe("pools", () => {
  const around = surroundings({ classes: [CLASS], images: [IMAGE], clusters: [CLUSTER] });

  test.each<[string, Parameters<typeof pool>[0]]>([
    ["metadata.labels[ironwright.dev/tenant]: missing; expected NAMESPACE.NAME of a VirtualCluster", { labels: {} }],
    [
      'metadata.labels[ironwright.dev/tenant]: "acme" is not NAMESPACE.NAME of a VirtualCluster',
      { labels: { "ironwright.dev/tenant": "acme" } },
    ],
    [
      "metadata.labels[ironwright.dev/tenant]: there is no VirtualCluster beta in namespace default",
      { labels: { "ironwright.dev/tenant": "default.beta" } },
    ],
    [
      'spec.template.spec.nodeClassRef.kind: "EC2NodeClass"; expected MachineClass',
      { template: { nodeClassRef: { group: "ironwright.dev", kind: "EC2NodeClass", name: "h100" } } },
    ],
    ['spec.template.spec.expireAfter: "5d"; expected a duration such as 30s or 1h30m, or Never', { template: { expireAfter: "5d" } }],
    [
      'spec.disruption.consolidateAfter: "soon"; expected a duration such as 30s or 1h30m, or Never',
      { spec: { disruption: { consolidateAfter: "soon" } } },
    ],
    [
      'spec.disruption.budgets[0].nodes: "many"; expected a number or a percentage',
      { spec: { disruption: { budgets: [{ nodes: "many" }] } } },
    ],
    ['spec.limits[cpu]: "lots" is not a quantity', { spec: { limits: { cpu: "lots" } } }],
    [
      "spec.template.spec.requirements[0] (zone): In needs at least one value",
      { template: { requirements: [{ key: "zone", operator: "In" }] } },
    ],
  ])("%s", (problem, more) => {
    expect(judgePool(pool(more), around).problems).toEqual([problem]);
    const status = poolStatus(pool(more), around, [], NOW);
    expect(status.conditions?.find((one) => one.type === "Ready")).toMatchObject({
      status: "False",
      reason: "NodePoolValidationFailed",
      message: problem,
    });
  });

  test("a class or an image that is not there", () => {
    const nothing = surroundings({ classes: [], images: [], clusters: [CLUSTER] });
    const status = poolStatus(pool(), nothing, [], NOW);
    expect(status.conditions?.map((one) => `${one.type} ${one.status} ${one.message}`)).toEqual([
      "ValidationSucceeded True ",
      "NodeClassReady False spec.template.spec.nodeClassRef.name: there is no MachineClass h100",
      "Ready False spec.template.spec.nodeClassRef.name: there is no MachineClass h100",
    ]);
    const without = surroundings({ classes: [CLASS], images: [], clusters: [CLUSTER] });
    expect(judgePool(pool(), without).classProblem).toBe("MachineClass h100, spec.image: there is no OSImage node");
  });

  test("the status counts the claims and adds up what they have; nothing new is the same status", () => {
    const status = poolStatus(pool(), around, [claim("gpu-1", true), claim("gpu-2", false)], NOW);
    expect(status).toMatchObject({ nodes: 2, resources: { cpu: "8", "nvidia.com/gpu": "4" } });
    expect(
      poolStatus({ ...pool(), status }, around, [claim("gpu-1", true), claim("gpu-2", false)], new Date(NOW.getTime() + 1_000)),
    ).toEqual(status);
  });
});

function claim(name: string, initialized: boolean, metadata: Partial<NodeClaim["metadata"]> = {}): NodeClaim {
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: {
      name: `gpu-${name}`,
      uid: name,
      labels: { "karpenter.sh/nodepool": "gpu", "ironwright.dev/tenant": "default.acme", tier: "gold" },
      annotations: { "ironwright.dev/machine": name },
      ...metadata,
    },
    spec: {
      nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" },
      requirements: [],
      taints: [{ key: "dedicated", effect: "NoSchedule" }],
    },
    status: {
      conditions: initialized ? [truth("Initialized")] : [],
      capacity: { cpu: "4", "nvidia.com/gpu": "2" },
      allocatable: { cpu: "4", memory: "1Gi", pods: "110", "nvidia.com/gpu": "2" },
    },
  };
}

function pod(name: string, more: Partial<Pod> & { spec?: Partial<Pod["spec"]> } = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    status: { phase: "Running" },
    ...more,
    metadata: { name, namespace: "default", ...more.metadata },
    spec: { containers: [{ name: "c", resources: { requests: { cpu: "1" } } }], ...more.spec },
  };
}

function node(name: string, more: Partial<Node["spec"]> = {}, allocatable = {}): Node {
  return { apiVersion: "v1", kind: "Node", metadata: { name, labels: { real: "yes" } }, spec: more, status: { allocatable } };
}

describe("nodes", () => {
  const known = (more: Partial<Known>, tenant: Partial<Known["tenants"][number]> = {}): Known => ({
    machines: [machine("gpu-1"), machine("gpu-2")],
    claims: [],
    pools: [pool()],
    classes: [CLASS],
    images: [IMAGE],
    clusters: [CLUSTER],
    tenants: [{ tenant: "default.acme", pods: [], nodes: [], daemonSets: [], ...tenant }],
    now: NOW,
    ...more,
  });
  const first = (world: Known) => worldOf(world).tenants[0]?.nodes[0];

  test("a claim without a node is a node to come, with the claim's labels, taints and promise", () => {
    const one = first(known({ claims: [claim("gpu-1", false)] }));
    expect(one).toMatchObject({
      name: "gpu-1",
      pool: "gpu",
      initialized: false,
      leaving: false,
      labels: { tier: "gold" },
      taints: [{ key: "dedicated" }],
    });
    expect(formatResources(one?.allocatable ?? new Map())).toMatchObject({ "nvidia.com/gpu": "2" });
    expect(worldOf(known({ claims: [claim("gpu-1", false)] })).machines.map((each) => each.unavailable)).toEqual(["in use", undefined]);
  });

  test("a node that comes up keeps the promised devices until its plugin speaks; one that is up is taken at its word", () => {
    const nodes = [node("gpu-1", {}, { cpu: "3", "nvidia.com/gpu": "0" })];
    const allocatable = (initialized: boolean) =>
      formatResources(first(known({ claims: [claim("gpu-1", initialized)] }, { nodes }))?.allocatable ?? new Map());
    expect(allocatable(false)).toMatchObject({ cpu: "3", "nvidia.com/gpu": "2" });
    expect(allocatable(true)).toEqual({ cpu: "3", "nvidia.com/gpu": "0" });
    expect(first(known({ claims: [claim("gpu-1", true)] }, { nodes }))?.labels).toEqual({ real: "yes" });
  });

  test("pods bound to a node use it; those of a leaving node are demand when somebody will make them again", () => {
    const owned = { ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "r", uid: "r", controller: true }] };
    const pods = [
      pod("bare", { spec: { nodeName: "gpu-1" } as Pod["spec"] }),
      pod("owned", { metadata: { name: "owned", ...owned }, spec: { nodeName: "gpu-1" } as Pod["spec"] }),
    ];
    const up = known({ claims: [claim("gpu-1", true)] }, { nodes: [node("gpu-1")], pods });
    expect(formatResources(first(up)?.used ?? new Map())).toEqual({ cpu: "2", pods: "2" });
    expect(worldOf(up).tenants[0]?.pods).toEqual([]);
    const going = known(
      { claims: [claim("gpu-1", true, { deletionTimestamp: "2026-01-01T00:00:00Z" })] },
      { nodes: [node("gpu-1")], pods },
    );
    expect(first(going)?.leaving).toBe(true);
    expect(worldOf(going).tenants[0]?.pods.map((one) => one.key)).toEqual(["default/owned"]);
  });

  test("a cordoned node takes who tolerates that alone; its own pods stay, and others follow and avoid them", () => {
    const cordoned = node("gpu-1");
    const pods = [pod("there", { spec: { containers: [], nodeName: "gpu-1" }, metadata: { name: "there", labels: { app: "a" } } })];
    const up = known(
      { claims: [claim("gpu-1", true)] },
      { nodes: [{ ...cordoned, spec: { ...cordoned.spec, unschedulable: true } }], pods },
    );
    expect(first(up)?.leaving).toBe(false);
    expect(first(up)?.taints).toContainEqual({ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" });
    expect(first(up)?.pods?.map((one) => one.key)).toEqual(["default/there"]);
    expect(worldOf(up).tenants[0]?.pods).toEqual([]);
  });

  test("no number of pods that a tenant can write stops the plan for everybody", { timeout: 60_000 }, () => {
    const unschedulable = { conditions: [{ type: "PodScheduled", status: "False" as const, reason: "Unschedulable" }] };
    const pods = Array.from({ length: 130_000 }, (_, n) => [
      pod(`bound-${n}`, { spec: { containers: [], nodeName: "gpu-1" } }),
      pod(`pending-${n}`, { spec: { containers: [] }, status: unschedulable }),
    ]).flat();
    const many = known({ claims: [claim("gpu-1", true)] }, { nodes: [node("gpu-1", {}, { pods: "1G" })], pods });
    expect(formatResources(first(many)?.used ?? new Map())).toEqual({ pods: "130k" });
    expect(plan(worldOf(many)).placements.map((one) => one.pods.length)).toEqual([130_000]);
  });

  test("a pool that is not right is there, with its problem", () => {
    const wrong = known({ pools: [pool({ template: { expireAfter: "5d" } })] });
    expect(worldOf(wrong).tenants[0]?.pools[0]?.problem).toContain("spec.template.spec.expireAfter");
  });
});

describe("projects", () => {
  const quota = (hard: Record<string, string>, more: object = {}, namespace = "default"): ResourceQuota => ({
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: { name: "q", namespace },
    spec: { hard, ...more },
  });
  const world = (quotas: readonly ResourceQuota[], claims: readonly NodeClaim[] = []) =>
    worldOf({
      machines: [machine("gpu-1"), machine("gpu-2")],
      claims,
      pools: [pool()],
      classes: [CLASS],
      images: [IMAGE],
      clusters: [CLUSTER],
      tenants: [{ tenant: "default.acme", pods: [], nodes: [], daemonSets: [] }],
      quotas,
      now: NOW,
    });

  test("are bound by the ResourceQuotas of their namespaces, the tightest of several", () => {
    const of = world([
      quota({ "count/nodeclaims.karpenter.sh": "4", "requests.nvidia.com/gpu": "16", "count/virtualclusters.ironwright.dev": "3" }),
      quota({ "count/nodeclaims.karpenter.sh": "8", "requests.nvidia.com/gpu": "8", "requests.cpu": "1" }),
      quota({ "count/nodeclaims.karpenter.sh": "1" }, { scopes: ["BestEffort"] }),
      quota({ "requests.cpu": "1" }, {}, "other"),
    ]);
    expect(of.projects).toEqual([
      {
        name: "default",
        limits: new Map([
          ["machines", 4],
          ["nvidia.com/gpu", 8],
        ]),
      },
    ]);
    expect(of.tenants[0]?.project).toBe("default");
    expect(world([]).projects).toBeUndefined();
  });

  test("what tenants hold that do not answer counts, and what other projects hold does not", () => {
    const limit = [quota({ "count/nodeclaims.karpenter.sh": "4" })];
    const labelled = (name: string, tenant: string) => claim(name, true, { labels: { "ironwright.dev/tenant": tenant } });
    const of = world(limit, [
      claim("gpu-1", true),
      labelled("gpu-2", "default.asleep"),
      labelled("gone", "default.asleep"),
      labelled("x", "other.a"),
    ]);
    expect(of.projects?.[0]?.elsewhere?.map((one) => formatResources(one)["nvidia.com/gpu"])).toEqual(["2", "2"]);
    expect(of.tenants[0]?.nodes).toHaveLength(1);
  });

  test("a pod that waits for its project's quota is told so, by the live world's plan", () => {
    const unschedulable = { conditions: [{ type: "PodScheduled", status: "False" as const, reason: "Unschedulable" }] };
    const wants = { containers: [{ name: "c", resources: { requests: { "nvidia.com/gpu": "2" } } }] };
    const of = worldOf({
      machines: [machine("gpu-1"), machine("gpu-2")],
      claims: [claim("gpu-1", true, { labels: { "ironwright.dev/tenant": "default.asleep" } })],
      pools: [pool()],
      classes: [CLASS],
      images: [IMAGE],
      clusters: [CLUSTER],
      tenants: [{ tenant: "default.acme", pods: [pod("p", { spec: wants, status: unschedulable })], nodes: [], daemonSets: [] }],
      quotas: [quota({ "requests.nvidia.com/gpu": "3" })],
      now: NOW,
    });
    const { claims, refusals } = plan(of);
    expect(claims).toEqual([]);
    expect(refusals[0]?.reason).toContain("quota of project default: 2 of 3 nvidia.com/gpu used by its tenants, 2 more wanted");
    expect(plan({ ...of, projects: [] }).claims).toHaveLength(1);
  });
});

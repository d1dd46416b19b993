import { pino } from "pino";
import { expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import type { Condition } from "../../core/conditions.ts";
import { type MachineClass, NODE_CLAIM, type NodeClaim, type NodePool, type OSImage, type VirtualCluster } from "../../core/resources.ts";
import { NODE, type Node, POD, type Pod } from "../../kube/index.ts";
import { memoryApiserver } from "../apiserver.fixture.ts";
import { claim as aClaim, machine as aMachine, node as aNode, pod as aPod } from "../claim/life.fixture.ts";
import type { TenantView } from "../demand.ts";
import { disruptOnce } from "./controller.ts";

const NOW = new Date("2026-01-02T00:00:00Z");
const LONG_AGO = "2026-01-01T00:00:00Z";
const TENANT = "default.acme";

const truth = (type: string, since = LONG_AGO): Condition => ({
  type,
  status: "True",
  reason: type,
  message: "",
  lastTransitionTime: since,
});
const pool: NodePool = {
  apiVersion: "karpenter.sh/v1",
  kind: "NodePool",
  metadata: { name: "gpu", uid: "pool-uid", labels: { "ironwright.dev/tenant": TENANT } },
  spec: {
    disruption: { budgets: [{ nodes: "1" }], consolidateAfter: "0s" },
    template: { spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "h100" }, requirements: [] } },
  },
};
const machineClass: MachineClass = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "MachineClass",
  metadata: { name: "h100" },
  spec: { image: "os" },
};
const image = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "OSImage",
  metadata: { name: "os" },
  spec: { sha256: "a", sizeBytes: 1 },
} as OSImage;
const cluster: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "default" },
  spec: {},
};

function claimOn(machine: string, more: { drifted?: true; up?: false; annotations?: Record<string, string> } = {}): NodeClaim {
  const base = aClaim();
  const up = more.up === false ? [] : ["Launched", "Registered", "Initialized"];
  return {
    ...base,
    metadata: {
      ...base.metadata,
      name: `c-${machine}`,
      uid: `u-${machine}`,
      creationTimestamp: LONG_AGO,
      annotations: { "ironwright.dev/machine": machine, ...more.annotations },
    },
    status: { conditions: [...up, ...(more.drifted ? ["Drifted"] : [])].map((type) => truth(type)) },
  };
}

function freeMachine(name: string, claimed: boolean) {
  const base = aMachine({ status: { phase: claimed ? "InUse" : "Available" } });
  const disk = { path: "/dev/x", name: "x", serial: name, model: "d", sizeBytes: 2 ** 40, rotational: false, signatures: [] };
  const inventory = base.status?.inventory && { ...base.status.inventory, disks: [disk] };
  return { ...base, metadata: { name }, status: { ...base.status, ...(inventory ? { inventory } : {}) } };
}

function nodeOf(name: string, taints: readonly string[] = []): Node {
  const base = aNode({ spec: { taints: taints.map((key) => ({ key, effect: "NoSchedule" as const })) } });
  const allocatable = { cpu: "2", memory: "2Gi", pods: "110", "nvidia.com/gpu": "1" };
  return { ...base, metadata: { name }, status: { capacity: allocatable, allocatable } };
}

function worker(name: string, on: string): Pod {
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "rs", uid: "rs", controller: true };
  const containers = [{ name: "c", resources: { requests: { "nvidia.com/gpu": "1" } } }];
  return aPod(name, { nodeName: on, containers } as Partial<Pod["spec"]>, { ownerReferences: [owner] } as Partial<Pod["metadata"]>);
}

/** A host and a tenant in memory; what is known is what is there, but for what the test hides. */
async function stage(have: { machines: string[]; claims: NodeClaim[]; nodes: Node[]; pods?: Pod[]; unseen?: Pod[] }) {
  const host = memoryApiserver();
  const tenant = memoryApiserver();
  for (const one of have.claims) await host.kube.create(NODE_CLAIM, one);
  for (const one of have.nodes) await tenant.kube.create(NODE, one);
  for (const one of [...(have.pods ?? []), ...(have.unseen ?? [])]) await tenant.kube.create(POD, one);
  const nodesSeen = have.nodes;
  const claims = async () => (await host.kube.list(NODE_CLAIM)).items;
  const events = { record: () => {}, flush: async () => {} };
  const made: string[] = [];
  async function once(seen: { nodes?: readonly Node[] } = {}): Promise<void> {
    const list = await claims();
    const taken = new Set(list.map((one) => one.metadata.annotations?.["ironwright.dev/machine"]));
    const known = {
      tenant: TENANT,
      pods: have.pods ?? [],
      nodes: seen.nodes ?? (await tenant.kube.list(NODE)).items,
      daemonSets: [],
      lastPodEvents: () => new Date(LONG_AGO),
    };
    const view = { tenant: TENANT, kube: tenant.kube, events, pod: () => undefined } as unknown as TenantView;
    await disruptOnce({
      kube: host.kube,
      clock: { ...systemClock, now: () => NOW },
      log: pino({ level: "silent" }),
      events,
      known: () => ({
        machines: have.machines.map((name) => freeMachine(name, taken.has(name))),
        claims: list,
        pools: [pool],
        classes: [machineClass],
        images: [image],
        clusters: [cluster],
        tenants: [known],
        now: NOW,
      }),
      view: () => view,
      created: (one) => void made.push(one.metadata.annotations?.["ironwright.dev/machine"] ?? ""),
    });
  }
  const taints = async (name: string) => (await tenant.kube.get(NODE, name))?.spec.taints?.map((one) => one.key);
  const goes = async (name: string) => (await host.kube.get(NODE_CLAIM, `c-${name}`))?.metadata.deletionTimestamp !== undefined;
  return { once, made, taints, goes, host: host.kube, nodesSeen };
}

const REPLACES_OLD = { "ironwright.dev/replaces": "c-old/u-old" };
const DISRUPTED = "karpenter.sh/disrupted";

test("a replacement that did not come up: the old node takes pods again, and its own taints stay", async () => {
  const world = await stage({
    machines: ["old"],
    claims: [claimOn("old")],
    nodes: [nodeOf("old", ["team", DISRUPTED])],
    pods: [worker("p", "old")],
  });
  await world.once();
  expect(await world.taints("old")).toEqual(["team"]);
  expect(await world.goes("old")).toBe(false);
});

test("a daemon that died between the claim and the taint: the taint follows, nothing goes before the new node is up", async () => {
  const coming = claimOn("new", { up: false, annotations: REPLACES_OLD });
  const world = await stage({
    machines: ["old", "new", "spare"],
    claims: [claimOn("old", { drifted: true }), coming],
    nodes: [nodeOf("old")],
    pods: [worker("p", "old")],
  });
  await world.once();
  expect(await world.taints("old")).toEqual([DISRUPTED]);
  expect(await world.goes("old")).toBe(false);
  // nor is it replaced a second time, though no watch has shown the taint yet
  await world.once({ nodes: world.nodesSeen });
  expect(world.made).toEqual([]);
});

test("the old node goes when its replacement is initialised", async () => {
  const world = await stage({
    machines: ["old", "new"],
    claims: [claimOn("old", { drifted: true }), claimOn("new", { annotations: REPLACES_OLD })],
    nodes: [nodeOf("old", [DISRUPTED]), nodeOf("new")],
    pods: [worker("p", "old")],
  });
  await world.once();
  expect(await world.goes("old")).toBe(true);
  expect(await world.goes("new")).toBe(false);
});

test("of two replacements one is not enough: the old node stays and takes pods again", async () => {
  const half = { ...REPLACES_OLD, "ironwright.dev/replacements": "2" };
  const world = await stage({
    machines: ["old", "new"],
    claims: [claimOn("old"), claimOn("new", { annotations: half })],
    nodes: [nodeOf("old", [DISRUPTED]), nodeOf("new", ["full"])],
    pods: [worker("p", "old"), worker("q", "new")],
  });
  await world.once();
  expect(await world.goes("old")).toBe(false);
  expect(await world.taints("old")).toEqual([]);
});

test("a node that is being replaced counts against its pool's budget before its taint is seen", async () => {
  const world = await stage({
    machines: ["old", "new", "other"],
    claims: [claimOn("old", { drifted: true }), claimOn("new", { up: false, annotations: REPLACES_OLD }), claimOn("other")],
    nodes: [nodeOf("old"), nodeOf("other")],
    pods: [worker("p", "old")],
  });
  await world.once();
  expect(await world.goes("other")).toBe(false);
});

test("an empty node goes; one to which a pod came meanwhile does not", async () => {
  const have = { machines: ["old"], claims: [claimOn("old")], nodes: [nodeOf("old")] };
  const empty = await stage(have);
  await empty.once();
  expect(await empty.goes("old")).toBe(true);
  const busy = await stage({ ...have, unseen: [worker("late", "old")] });
  await busy.once();
  expect(await busy.goes("old")).toBe(false);
});

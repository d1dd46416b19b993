import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Autoscaler, autoscaler, type TenantApis } from "../../src/autoscale/index.ts";
import { systemClock } from "../../src/core/clock.ts";
import { condition } from "../../src/core/conditions.ts";
import {
  type Kind,
  MACHINE,
  type Machine,
  NODE_CLAIM,
  NODE_POOL,
  type NodeClaim,
  type Resource,
  VIRTUAL_CLUSTER,
} from "../../src/core/resources.ts";
import { connectKube, EVENT, eventRecorder, type Kube, NODE, PDB, POD, SERVICE_ACCOUNT } from "../../src/kube/index.ts";
import { heldSeconds, keepGivenBack } from "../../src/tenant/given-back.ts";
import {
  createClass,
  createGpuPod,
  createMachine,
  createPool,
  GPU,
  releaseMachine,
  removeAll,
  removePools,
  turnPhase,
} from "./gpu-pool.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { createTenant } from "./tenant-world.ts";

const WAIT = { timeout: 15_000, interval: 100 };

/** One real apiserver is the host and, for the tenant's pods and nodes, the tenant; the test is its scheduler, kubelet and machine. */
let host: HostControlPlane;
let kube: Kube;
let tenantKube: Kube;
let running: Autoscaler | undefined;
/** What each revoke found done: the claim's true conditions. */
let revoked: string[][] = [];

const tenants: TenantApis = {
  list: () => [{ namespace: "default", name: "acme" }],
  onChange: () => {},
  kube: () => tenantKube,
  async revoke(_ref, node) {
    const claim = await kube.get(NODE_CLAIM, node.claim);
    revoked.push((claim?.status?.conditions ?? []).filter((one) => one.status === "True").map((one) => one.type));
    await tenantKube.delete(NODE, node.nodeName);
  },
  keepGivenBack: (ref, ending) => keepGivenBack(kube, ref, ending),
};

async function startScaler(): Promise<void> {
  const events = eventRecorder({ kube, component: "ironwright", clock: systemClock, log: host.log });
  running = autoscaler({ kube, tenants, clock: systemClock, log: host.log, events });
  await running.start();
}

async function stopScaler(): Promise<void> {
  await running?.stop();
  running = undefined;
}

beforeAll(async () => {
  host = await withHost();
  kube = host.kube;
  tenantKube = connectKube(readFileSync(host.kubeconfig, "utf8"));
  await tenantKube.apply(SERVICE_ACCOUNT, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace: "default" },
  });
  await createTenant(host, "acme");
  await createClass(kube);
});

afterEach(async () => {
  await stopScaler();
  for (const kind of [PDB, POD, NODE] as Kind[]) await removeAll(tenantKube, kind);
  await removePools(kube);
  revoked = [];
});

afterAll(async () => {
  await tenantKube?.close();
  await host?.stop();
});

const pool = (disruption?: object, spec?: object) => createPool(kube, disruption, spec);
const machine = (name: string) => createMachine(kube, name);
const phase = (name: string, next: NonNullable<Machine["status"]>["phase"]) => turnPhase(kube, name, next);
const release = (name: string) => releaseMachine(kube, name);

async function gpuPod(name: string, gpus: number): Promise<void> {
  await createGpuPod(tenantKube, name, gpus);
  const unschedulable = { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/0 nodes are available" };
  await tenantKube.patch(POD, name, "default", { status: { conditions: [unschedulable] } }, { subresource: "status" });
}

/** What kubelet and node lifecycle do. */
async function join(name: string): Promise<void> {
  await tenantKube.create(NODE, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { providerID: `ironwright://${name}`, taints: [{ key: "karpenter.sh/unregistered", effect: "NoExecute" }] },
  });
  const allocatable = { cpu: "2", memory: "1Gi", pods: "110", [GPU]: "2" };
  await tenantKube.patch(
    NODE,
    name,
    undefined,
    { status: { capacity: allocatable, allocatable, conditions: [{ type: "Ready", status: "True" }] } },
    { subresource: "status" },
  );
  await vi.waitFor(async () => expect(condition((await claimOn(name))?.status?.conditions, "Registered")?.status).toBe("True"), WAIT);
  const node = await tenantKube.get(NODE, name);
  const taints = (node?.spec.taints ?? []).filter((one) => one.key !== "node.kubernetes.io/not-ready");
  await tenantKube.patch(NODE, name, undefined, { spec: { taints } });
}

async function bind(pod: string, node: string): Promise<void> {
  const target = { apiVersion: "v1", kind: "Node", name: node };
  await tenantKube.raw("POST", `/api/v1/namespaces/default/pods/${pod}/binding`, {
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name: pod },
    target,
  });
  await tenantKube.patch(POD, pod, "default", { status: { phase: "Running" } }, { subresource: "status" });
}

const end = (pod: string) => tenantKube.delete(POD, pod, { namespace: "default", gracePeriodSeconds: 0 });

async function onlyClaim(): Promise<NodeClaim> {
  const { items } = await kube.list(NODE_CLAIM);
  expect(items).toHaveLength(1);
  return items[0] as NodeClaim;
}

async function claimOn(machineName: string): Promise<NodeClaim | undefined> {
  const { items } = await kube.list(NODE_CLAIM);
  return items.find((one) => one.metadata.annotations?.["ironwright.dev/machine"] === machineName);
}

async function truths(): Promise<string[]> {
  return ((await onlyClaim()).status?.conditions ?? []).filter((one) => one.status === "True").map((one) => one.type);
}

async function eventsOf(object: string): Promise<string[]> {
  return (await tenantKube.list(EVENT)).items
    .filter((one) => one.involvedObject.name === object)
    .map((one) => `${one.reason}: ${one.message}`);
}

async function gone<T extends Resource>(kind: Kind<T>): Promise<void> {
  await vi.waitFor(async () => expect((await kube.list(kind)).items).toEqual([]), WAIT);
}

describe("from a pending pod to a claim on a machine, and back", () => {
  test("a claim names the machine, the second pod is told why it waits, and an empty node is given back in order", async () => {
    await pool();
    await machine("gpu-1");
    await startScaler();
    const asked = Date.now();
    await gpuPod("a", 2);
    await gpuPod("b", 2);
    await vi.waitFor(async () => expect((await kube.get(MACHINE, "gpu-1"))?.spec.claimRef?.tenant).toBe("default.acme"), WAIT);
    expect(Date.now() - asked).toBeLessThan(3_000);
    const claim = await onlyClaim();
    expect(claim.metadata.annotations?.["ironwright.dev/machine"]).toBe("gpu-1");
    expect((await kube.get(MACHINE, "gpu-1"))?.spec.claimRef?.uid).toBe(claim.metadata.uid);
    await vi.waitFor(
      async () =>
        expect((await eventsOf("b")).join()).toContain(
          "FailedScheduling: No machine for this pod: no free host (type h100: 0 of 1); pool gpu: 0/1 machines: 1 in use",
        ),
      WAIT,
    );
    await vi.waitFor(async () => expect((await eventsOf("a")).join()).toContain("machine gpu-1"), WAIT);
    expect(running?.explainPod("default.acme", "default/a")?.placed).toMatchObject({ node: "gpu-1" });

    await phase("gpu-1", "Joining");
    await join("gpu-1");
    await vi.waitFor(
      async () => expect(await truths()).toEqual(expect.arrayContaining(["Launched", "Registered", "Initialized", "Ready"])),
      WAIT,
    );
    await phase("gpu-1", "InUse");
    expect((await tenantKube.get(NODE, "gpu-1"))?.metadata.labels).toMatchObject({
      tier: "gold",
      "karpenter.sh/nodepool": "gpu",
      "karpenter.sh/initialized": "true",
    });
    expect((await tenantKube.get(NODE, "gpu-1"))?.spec.taints).toEqual([{ key: "gpu", effect: "NoSchedule" }]);
    await vi.waitFor(
      async () => expect((await kube.get(NODE_POOL, "gpu"))?.status).toMatchObject({ nodes: 1, resources: { [GPU]: "2" } }),
      WAIT,
    );

    await bind("a", "gpu-1");
    await end("b");
    await stopScaler();
    await startScaler();
    await end("a");
    await vi.waitFor(async () => expect((await onlyClaim()).metadata.deletionTimestamp).toBeDefined(), WAIT);
    await vi.waitFor(async () => expect(await truths()).toContain("InstanceTerminating"), WAIT);
    expect(revoked[0]).toContain("Drained");
    expect(revoked[0]).not.toContain("InstanceTerminating");
    expect(await tenantKube.get(NODE, "gpu-1")).toBeUndefined();
    const ended = await onlyClaim();
    expect(ended.metadata.finalizers).toEqual(["karpenter.sh/termination"]);
    await stopScaler();
    await release("gpu-1");
    await startScaler();
    await gone(NODE_CLAIM);
    // by the claim's own times, not by when the daemon came back
    const nodeSeconds = Math.round(heldSeconds(ended, new Date()));
    expect(nodeSeconds).toBeGreaterThan(0);
    expect((await kube.get(VIRTUAL_CLUSTER, "acme", "default"))?.status?.givenBack).toEqual({
      nodeSeconds,
      gpuSeconds: 2 * nodeSeconds,
      claims: [ended.metadata.uid],
    });
  });

  test("a daemon that is started in the middle goes on: claim made, nothing launched; drain begun, budget in the way", async () => {
    await pool({ consolidateAfter: "Never" });
    await machine("gpu-1");
    await gpuPod("a", 1);
    await startScaler();
    await vi.waitFor(onlyClaim, WAIT);
    await stopScaler();
    await startScaler();
    await vi.waitFor(async () => expect((await kube.get(MACHINE, "gpu-1"))?.spec.claimRef).toBeDefined(), WAIT);
    await join("gpu-1");
    await vi.waitFor(async () => expect(await truths()).toContain("Initialized"), WAIT);
    await bind("a", "gpu-1");
    await tenantKube.create(PDB, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "keep", namespace: "default" },
      spec: { selector: { matchLabels: { app: "a" } }, minAvailable: 1 },
    });
    await kube.delete(NODE_CLAIM, (await onlyClaim()).metadata.name);
    const drained = async () => condition((await onlyClaim()).status?.conditions, "Drained");
    await vi.waitFor(async () => expect((await drained())?.message).toBe("waiting for default/a; disruption budgets keep default/a"), WAIT);
    expect((await tenantKube.get(NODE, "gpu-1"))?.spec.taints?.map((one) => one.key)).toContain("karpenter.sh/disrupted");
    await stopScaler();
    await removeAll(tenantKube, PDB);
    await startScaler();
    await vi.waitFor(async () => expect((await tenantKube.get(POD, "a", "default"))?.metadata.deletionTimestamp).toBeDefined(), WAIT);
    expect(revoked).toEqual([]);
    await end("a");
    await vi.waitFor(async () => expect(await truths()).toContain("InstanceTerminating"), WAIT);
    await release("gpu-1");
    await gone(NODE_CLAIM);
  });

  test("a machine that is quarantined while it is installed is left, and another one is claimed", async () => {
    await pool();
    await machine("gpu-1");
    await machine("gpu-2");
    await gpuPod("a", 2);
    await startScaler();
    await vi.waitFor(async () => expect((await kube.get(MACHINE, "gpu-1"))?.spec.claimRef).toBeDefined(), WAIT);
    const quarantine = {
      type: "Quarantined",
      status: "True",
      reason: "WipeUnproven",
      message: "disk d",
      lastTransitionTime: new Date().toISOString(),
    };
    await kube.patch(MACHINE, "gpu-1", undefined, { status: { phase: "Installing", conditions: [quarantine] } }, { subresource: "status" });
    await vi.waitFor(async () => expect((await kube.get(MACHINE, "gpu-2"))?.spec.claimRef).toBeDefined(), WAIT);
    await vi.waitFor(async () => expect(revoked).toHaveLength(1), WAIT);
    await release("gpu-1");
    await vi.waitFor(onlyClaim, WAIT);
  });

  test("a node whose pool has changed goes when its replacement is up, and not before", async () => {
    await pool({ consolidateAfter: "Never", budgets: [{ nodes: "1", reasons: ["Drifted"] }] });
    await machine("gpu-1");
    await gpuPod("a", 2);
    await startScaler();
    await vi.waitFor(onlyClaim, WAIT);
    await join("gpu-1");
    await vi.waitFor(async () => expect(await truths()).toContain("Initialized"), WAIT);
    await bind("a", "gpu-1");
    await machine("gpu-2");
    await kube.patch(NODE_POOL, "gpu", undefined, { spec: { template: { metadata: { labels: { tier: "platinum" } } } } });
    await vi.waitFor(async () => expect(await claimOn("gpu-2")).toBeDefined(), WAIT);
    const old = await claimOn("gpu-1");
    expect(condition(old?.status?.conditions, "Drifted")).toMatchObject({ status: "True", reason: "NodePoolDrifted" });
    expect((await claimOn("gpu-2"))?.metadata.annotations?.["ironwright.dev/replaces"]).toBe(`${old?.metadata.name}/${old?.metadata.uid}`);
    const tainted = async () => (await tenantKube.get(NODE, "gpu-1"))?.spec.taints?.map((one) => one.key);
    await vi.waitFor(async () => expect(await tainted()).toContain("karpenter.sh/disrupted"), WAIT);
    expect((await claimOn("gpu-1"))?.metadata.deletionTimestamp).toBeUndefined();
    await vi.waitFor(async () => expect((await kube.get(MACHINE, "gpu-2"))?.spec.claimRef).toBeDefined(), WAIT);
    await stopScaler();
    await startScaler();
    await join("gpu-2");
    await vi.waitFor(async () => expect((await claimOn("gpu-1"))?.metadata.deletionTimestamp).toBeDefined(), WAIT);
    expect(condition((await claimOn("gpu-2"))?.status?.conditions, "Initialized")?.status).toBe("True");
  });

  test("a pool that is not right says which field, and nothing is claimed", async () => {
    await pool(undefined, { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "b200" } });
    await machine("gpu-1");
    await gpuPod("a", 1);
    await startScaler();
    const ready = async () => condition((await kube.get(NODE_POOL, "gpu"))?.status?.conditions, "Ready");
    const problem = "spec.template.spec.nodeClassRef.name: there is no MachineClass b200";
    await vi.waitFor(
      async () => expect(await ready()).toMatchObject({ status: "False", reason: "NodeClassNotReady", message: problem }),
      WAIT,
    );
    await vi.waitFor(
      async () => expect(await eventsOf("a")).toContain(`FailedScheduling: No machine for this pod: pool gpu: ${problem}`),
      WAIT,
    );
    expect((await kube.list(NODE_CLAIM)).items).toEqual([]);
  });
});

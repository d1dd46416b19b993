import { describe, expect, test } from "vitest";
import { IronwrightError } from "../../core/errors.ts";
import { MACHINE, NODE_CLAIM, VIRTUAL_CLUSTER } from "../../core/resources.ts";
import { POD } from "../../kube/index.ts";
import { deadlineOf, drainStep } from "./drain.ts";
import { claim, life, node, pod, START, said } from "./life.fixture.ts";

const READY = { conditions: [{ type: "Ready", status: "True" as const }], allocatable: {} };

async function running(pods: ReturnType<typeof pod>[], spec = {}) {
  const one = await life({ claim: claim(spec), node: node({ status: READY }), pods });
  await one.go(2);
  await one.host.delete(NODE_CLAIM, "gpu-abcde");
  return one;
}

test("pods away, rights away, machine released, finalizer off: in this order", async () => {
  const one = await running([pod("a")]);
  expect(said(await one.go(), "Drained")).toBe("Unknown/Draining");
  expect((await one.node())?.spec.taints).toEqual([{ key: "karpenter.sh/disrupted", effect: "NoSchedule" }]);
  expect((await one.tenant.list(POD)).items).toEqual([]);
  expect(one.revoked).toEqual([]);
  expect(said(await one.go(), "Drained")).toBe("True/Drained");
  expect(one.revoked).toEqual([]);
  expect(said(await one.go(), "InstanceTerminating")).toBe("True/InstanceTerminating");
  expect(one.revoked).toEqual(["gpu-abcde claim-uid gpu-1"]);
  expect(await one.go(3)).toBeDefined();
  await one.host.patch(MACHINE, "gpu-1", undefined, { spec: { claimRef: null } });
  expect(one.givenBack).toEqual([]);
  expect(await one.go()).toBeUndefined();
  expect(one.givenBack).toEqual(["default.acme claim-uid True/InstanceTerminating"]);
});

test("a claim stays until what the tenant had of its node is kept", async () => {
  const one = await running([]);
  await one.go(2);
  await one.host.patch(MACHINE, "gpu-1", undefined, { spec: { claimRef: null } });
  one.refuseKeeping(new IronwrightError("IRW_KUBE_CONFLICT", { object: "acme", reason: "resourceVersion" }));
  await expect(one.go()).rejects.toMatchObject({ code: "IRW_KUBE_CONFLICT" });
  expect(await one.get()).toBeDefined();
  one.refuseKeeping(undefined);
  expect(await one.go()).toBeUndefined();
  expect(one.givenBack).toHaveLength(1);
});

test("a claim that never had its machine goes at once", async () => {
  const one = await life();
  await one.host.delete(NODE_CLAIM, "gpu-abcde");
  expect(await one.go()).toBeUndefined();
  expect(one.revoked).toEqual([]);
});

test("a machine that never became a node has nothing to drain", async () => {
  const one = await life();
  await one.go();
  await one.host.delete(NODE_CLAIM, "gpu-abcde");
  expect(said(await one.go(), "Drained")).toBe("True/NeverRegistered");
});

test("a machine that somebody took from its claim: the node's rights go before the claim does", async () => {
  const one = await running([]);
  await one.host.patch(MACHINE, "gpu-1", undefined, { spec: { claimRef: null } });
  one.refuseRevoking(new IronwrightError("IRW_TENANT_NOT_READY", { tenant: "default.acme", reason: "it has not answered yet" }));
  await expect(one.go()).rejects.toMatchObject({ code: "IRW_TENANT_NOT_READY" });
  expect(await one.get()).toBeDefined();
  one.refuseRevoking(undefined);
  expect(await one.go()).toBeUndefined();
  expect(one.revoked).toEqual(["gpu-abcde claim-uid gpu-1"]);
  expect(await one.node()).toBeUndefined();
});

test("a tenant that lets nobody take the node's rights: the claim says so, and the machine is not released", async () => {
  const one = await running([]);
  one.refuseRevoking(new IronwrightError("IRW_TENANT_GATE", { tenant: "default.acme", node: "gpu-1", got: "it may register" }));
  expect(said(await one.go(2), "InstanceTerminating")).toBe("Unknown/NotRevoked");
  one.refuseRevoking(undefined);
  expect(said(await one.go(), "InstanceTerminating")).toBe("True/InstanceTerminating");
});

test("a budget keeps a pod, and the condition says so", async () => {
  const one = await running([pod("a")]);
  one.blocked.add("default/a");
  const after = await one.go(3);
  expect(after?.status?.conditions?.find((each) => each.type === "Drained")?.message).toBe(
    "waiting for default/a; disruption budgets keep default/a",
  );
  one.blocked.clear();
  expect(said(await one.go(2), "Drained")).toBe("True/Drained");
});

test("a tenant that falls asleep, whom nobody watches any more, is drained before", async () => {
  const falling = await running([pod("a")]);
  falling.unwatch();
  expect(said(await falling.go(3), "Drained")).toBe("True/Drained");
});

test("a tenant that is deleted is not drained; one that is not ready is waited for", async () => {
  const waiting = await running([pod("a")]);
  waiting.unwatch();
  waiting.detach();
  expect(said(await waiting.go(), "Drained")).toBe("Unknown/TenantNotReady");
  await waiting.host.delete(VIRTUAL_CLUSTER, "acme", { namespace: "default" });
  expect(said(await waiting.go(), "Drained")).toBe("True/TenantGone");
});

describe("what to do next about the pods", () => {
  const now = new Date(START);
  const names = (pods: readonly { metadata: { name: string } }[]) => pods.map((one) => one.metadata.name);
  const daemon = pod("daemon", {}, { ownerReferences: [{ apiVersion: "apps/v1", kind: "DaemonSet", name: "d", uid: "d" }] });
  const critical = pod("critical", { priority: 2_000_000_000 });

  test("ordinary pods first, critical ones after them, daemons and who tolerates the taint never", () => {
    const tolerant = pod("tolerant", { tolerations: [{ operator: "Exists" }] });
    const step = drainStep([pod("a"), critical, daemon, tolerant], now, undefined);
    expect([names(step.evict), names(step.waiting)]).toEqual([["a"], ["a", "critical"]]);
    expect(names(drainStep([critical, daemon], now, undefined).evict)).toEqual(["critical"]);
    const leaving = pod("a", {}, { deletionTimestamp: START });
    expect(names(drainStep([leaving, critical], now, undefined).evict)).toEqual([]);
  });

  test("do-not-disrupt is waited for, until the deadline", () => {
    const kept = pod("kept", { terminationGracePeriodSeconds: 60 }, { annotations: { "karpenter.sh/do-not-disrupt": "true" } });
    const far = drainStep([kept], now, new Date(now.getTime() + 61_000));
    expect([names(far.evict), far.remove, names(far.waiting)]).toEqual([[], [], ["kept"]]);
    const near = drainStep([kept], now, new Date(now.getTime() + 45_000));
    expect(near.remove.map((one) => [one.pod.metadata.name, one.graceSeconds])).toEqual([["kept", 45]]);
  });

  test("a pod its kubelet never ends is no longer waited for", () => {
    const stuck = pod("stuck", {}, { deletionTimestamp: new Date(now.getTime() - 61_000).toISOString() });
    expect(drainStep([stuck], now, undefined).waiting).toEqual([]);
  });

  test("the deadline counts from the deletion", () => {
    const going = { ...claim({ terminationGracePeriod: "1m" }), metadata: { ...claim().metadata, deletionTimestamp: START } };
    expect(deadlineOf(going)?.getTime()).toBe(now.getTime() + 60_000);
    expect(deadlineOf({ ...going, spec: claim().spec })).toBeUndefined();
  });
});

test("past the deadline the node goes with what is left", async () => {
  const kept = pod("kept", {}, { annotations: { "karpenter.sh/do-not-disrupt": "true" } });
  const one = await running([kept], { terminationGracePeriod: "10m" });
  expect(said(await one.go(), "Drained")).toBe("Unknown/Draining");
  one.later(11 * 60_000);
  expect(said(await one.go(), "Drained")).toBe("True/DeadlinePassed");
});

test("past the deadline nothing is asked of a tenant that would refuse it", async () => {
  const one = await running([pod("a")], { terminationGracePeriod: "10m" });
  one.later(11 * 60_000);
  expect(said(await one.go(), "Drained")).toBe("True/DeadlinePassed");
  expect((await one.node())?.spec.taints).toEqual([]);
});

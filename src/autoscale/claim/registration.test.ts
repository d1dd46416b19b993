import { expect, test } from "vitest";
import { NODE } from "../../kube/index.ts";
import { claim, life, node, said } from "./life.fixture.ts";

test("until the node is there the condition says what the machine does", async () => {
  const one = await life();
  expect(said(await one.go(), "Registered")).toBe("Unknown/NodeNotFound");
});

test("the node gets the claim's labels, taints and annotations, and loses the taint it came with", async () => {
  const dedicated = { key: "dedicated", value: "ml", effect: "NoSchedule" } as const;
  const startup = { key: "cni", effect: "NoSchedule" } as const;
  const one = await life({ claim: claim({ taints: [dedicated], startupTaints: [startup] }), node: node() });
  const after = await one.go();
  expect(said(after, "Registered")).toBe("True/Registered");
  expect(after?.status?.nodeName).toBe("gpu-1");
  const now = await one.node();
  expect(now?.spec.taints).toEqual([dedicated, startup]);
  expect(now?.metadata.labels).toEqual({ own: "kept", tier: "gold", "karpenter.sh/nodepool": "gpu", "karpenter.sh/registered": "true" });
  expect(now?.metadata.annotations).toEqual({ team: "x" });
});

test("a node of another machine is not ours", async () => {
  const one = await life({ node: node({ spec: { providerID: "aws://i-1" } }) });
  expect(said(await one.go(), "Registered")).toBe("False/NodeMismatch");
  expect((await one.node())?.spec.taints).toHaveLength(1);
});

test("a tenant that deletes its node gives the machine back", async () => {
  const one = await life({ node: node() });
  await one.go();
  await one.tenant.delete(NODE, "gpu-1");
  expect((await one.go())?.metadata.deletionTimestamp).toBeDefined();
  expect(one.events).toContain("NodeGone");
});

test("while the tenant is not ready nothing is concluded", async () => {
  const one = await life({ node: node() });
  await one.go();
  await one.tenant.delete(NODE, "gpu-1");
  one.unwatch();
  expect((await one.go())?.metadata.deletionTimestamp).toBeUndefined();
});

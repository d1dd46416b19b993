import { expect, test } from "vitest";
import { NODE } from "../../kube/index.ts";
import { claim, life, node, said } from "./life.fixture.ts";

const READY = [{ type: "Ready", status: "True" as const }];
const wants = claim({
  startupTaints: [{ key: "cni", effect: "NoSchedule" }],
  resources: { requests: { cpu: "1", "nvidia.com/gpu": "1" } },
});

test("ready, startup taints gone, devices there: one after the other", async () => {
  const one = await life({ claim: wants, node: node() });
  const status = (allocatable: Record<string, string>) =>
    one.tenant.patch(NODE, "gpu-1", undefined, { status: { conditions: READY, capacity: allocatable, allocatable } });
  expect(said(await one.go(2), "Initialized")).toBe("Unknown/NodeNotReady");
  await status({ cpu: "2" });
  expect(said(await one.go(), "Initialized")).toBe("Unknown/StartupTaintsExist");
  await one.tenant.patch(NODE, "gpu-1", undefined, { spec: { taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }] } });
  expect(said(await one.go(), "Initialized")).toBe("Unknown/KnownEphemeralTaintsExist");
  await one.tenant.patch(NODE, "gpu-1", undefined, { spec: { taints: [] } });
  expect(said(await one.go(), "Initialized")).toBe("Unknown/ResourceNotRegistered");
  await status({ cpu: "2", "nvidia.com/gpu": "0" });
  expect(said(await one.go(), "Initialized")).toBe("Unknown/ResourceNotRegistered");
  await status({ cpu: "2", "nvidia.com/gpu": "1" });
  const after = await one.go();
  expect([said(after, "Initialized"), said(after, "Ready")]).toEqual(["True/Initialized", "True/Ready"]);
  expect(after?.status?.allocatable).toEqual({ cpu: "2", "nvidia.com/gpu": "1" });
  expect((await one.node())?.metadata.labels).toMatchObject({ "karpenter.sh/initialized": "true" });
});

test("once initialised it stays so, and a round without news writes nothing", async () => {
  const one = await life({ node: node({ status: { conditions: READY, allocatable: { cpu: "2" } } }) });
  const before = await one.go(2);
  await one.tenant.patch(NODE, "gpu-1", undefined, { status: { conditions: [{ type: "Ready", status: "False" }] } });
  const after = await one.go(2);
  expect(said(after, "Initialized")).toBe("True/Initialized");
  expect(after?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
});

test("the last pod event is recorded, not more often than it matters", async () => {
  const one = await life({ node: node({ status: { conditions: READY, allocatable: { cpu: "2" } } }) });
  await one.go(2);
  one.podEvent(new Date("2026-01-01T00:01:00.000Z"));
  expect((await one.go())?.status?.lastPodEventTime).toBe("2026-01-01T00:01:00.000Z");
  one.podEvent(new Date("2026-01-01T00:01:01.000Z"));
  expect((await one.go())?.status?.lastPodEventTime).toBe("2026-01-01T00:01:00.000Z");
});

test("whatever a tenant writes into its Node, the host keeps little of it", async () => {
  const message = `\u001b]0;x\u0007${"x".repeat(100_000)}`;
  const one = await life({ node: node({ status: { conditions: [{ type: "Ready", status: "False", message }] } }) });
  const waiting = (await one.go(2))?.status?.conditions?.find((each) => each.type === "Initialized");
  expect([waiting?.reason, waiting?.message.length, /\p{Cc}/u.test(waiting?.message ?? "")]).toEqual(["NodeNotReady", 1_000, false]);
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`example.com/r${n}`, "1"]));
  const up = await life({ node: node({ status: { conditions: [{ type: "Ready", status: "True" }], capacity: many, allocatable: many } }) });
  const after = await up.go(2);
  expect([said(after, "Initialized"), Object.keys(after?.status?.capacity ?? {}).length]).toEqual(["True/Initialized", 64]);
});

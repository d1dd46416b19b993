import { expect, test } from "vitest";
import type { VirtualCluster } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";
import type { Runtime } from "./runtime.ts";
import type { SleepPolicy } from "./sleep/policy.ts";
import { sleeper, turned } from "./sleeper.ts";

const WOKEN = new Date("2026-11-26T14:22:30.300Z");
/** By a clock that was half an hour ahead then. */
const WOKEN_AHEAD = new Date("2026-11-26T14:52:30.300Z");
const ORDERED = new Date("2026-11-26T14:22:30.600Z");
const LATER = new Date("2026-11-26T14:22:31.100Z");
const ASLEEP = { state: "hibernated", since: "2026-11-26T14:00:00Z", awakeSeconds: 0, why: "" } as const;
const CLUSTER: VirtualCluster = {
  apiVersion: "ironwright.dev/v1alpha1",
  kind: "VirtualCluster",
  metadata: { name: "acme", namespace: "default", uid: "u" },
  spec: {},
};

test.each([
  ["in the same second before it", turned(ASLEEP, "awake", WOKEN, "it was called")],
  ["before it, by a clock that was put back since", turned(ASLEEP, "awake", WOKEN_AHEAD, "it was called")],
  ["and was not seen to be awake before it", ASLEEP],
])("an order to sleep holds for who woke %s, however often it is looked at", async (_, before) => {
  let now = ORDERED;
  const sleeping = sleeper({
    kube: {} as Kube,
    runtime: { cell: async () => ({ state: "awake" }) } as unknown as Runtime,
    dataDir: "/nowhere",
    clock: { now: () => now, sleep: async () => {} },
  });
  const policy: SleepPolicy = { order: "Asleep", paused: false, schedule: [], nodes: "release" };
  let cluster: VirtualCluster = { ...CLUSTER, status: { sleep: before } };
  for (const at of [ORDERED, LATER]) {
    now = at;
    const { decision, status } = await sleeping.judge(cluster, policy, undefined);
    expect(decision.state).toBe("hibernated");
    cluster = { ...cluster, status: { ...cluster.status, sleep: status } };
  }
});

test("an order that stands, seen by a clock that was put back since, puts nobody down who was called after it", async () => {
  let state = "frozen";
  let now = ORDERED;
  const sleeping = sleeper({
    kube: {} as Kube,
    runtime: { cell: async () => ({ state }) } as unknown as Runtime,
    dataDir: "/nowhere",
    clock: { now: () => now, sleep: async () => {} },
  });
  let cluster: VirtualCluster = {
    ...CLUSTER,
    status: { sleep: { ...ASLEEP, since: WOKEN_AHEAD.toISOString(), orderedAt: WOKEN_AHEAD.toISOString() } },
  };
  const look = async () => {
    const { decision, status } = await sleeping.judge(
      cluster,
      { order: "Asleep", paused: false, schedule: [], nodes: "release" },
      undefined,
    );
    cluster = { ...cluster, status: { ...cluster.status, sleep: status } };
    return decision.state;
  };
  expect(await look()).toBe("hibernated");
  state = "awake";
  now = LATER;
  expect(await look()).toBe("awake");
  now = new Date(LATER.getTime() + 1_000);
  expect(await look()).toBe("awake");
});

test("by a clock that was put back nobody was awake for less than no time", async () => {
  const woken = turned(ASLEEP, "awake", WOKEN_AHEAD, "it was called");
  expect(turned(woken, "hibernated", LATER, "")).toMatchObject({ awakeSeconds: 0 });
  const sleeping = sleeper({
    kube: {} as Kube,
    runtime: { cell: async () => ({ state: "frozen" }) } as unknown as Runtime,
    dataDir: "/nowhere",
    clock: { now: () => LATER, sleep: async () => {} },
  });
  const { status } = await sleeping.judge(
    { ...CLUSTER, status: { sleep: woken } },
    { order: "Auto", paused: false, schedule: [], nodes: "release" },
    undefined,
  );
  expect(status).toMatchObject({ state: "hibernated", awakeSeconds: 0 });
});

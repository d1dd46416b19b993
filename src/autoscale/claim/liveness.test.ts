import { expect, test } from "vitest";
import { MACHINE, NODE_POOL } from "../../core/resources.ts";
import { life, node } from "./life.fixture.ts";

const READY = [{ type: "Ready", status: "True" as const }];

test("no node within the deadline: the claim ends and the machine is marked, so that the next plan avoids it", async () => {
  const one = await life();
  await one.go();
  one.later(29 * 60_000);
  expect((await one.go())?.metadata.deletionTimestamp).toBeUndefined();
  one.later(2 * 60_000);
  expect((await one.go())?.metadata.deletionTimestamp).toBeDefined();
  expect(one.events).toContain("RegistrationTimeout");
  expect((await one.machine())?.metadata.annotations?.["ironwright.dev/claim-failed-at"]).toBeDefined();
});

test("a registered node is not late", async () => {
  const one = await life({ node: node() });
  await one.go();
  one.later(60 * 60_000);
  expect((await one.go())?.metadata.deletionTimestamp).toBeUndefined();
});

test("a quarantined machine ends the claim, unless its node is up", async () => {
  const quarantine = {
    status: { conditions: [{ type: "Quarantined", status: "True", reason: "GpuGate", message: "1 GPU of 2", lastTransitionTime: "" }] },
  };
  const coming = await life();
  await coming.go();
  await coming.host.patch(MACHINE, "gpu-1", undefined, quarantine);
  expect((await coming.go())?.metadata.deletionTimestamp).toBeDefined();
  expect(coming.events).toContain("MachineQuarantined");
  const up = await life({ node: node({ status: { conditions: READY, allocatable: {} } }) });
  await up.go(2);
  await up.host.patch(MACHINE, "gpu-1", undefined, quarantine);
  expect((await up.go())?.metadata.deletionTimestamp).toBeUndefined();
});

test("a machine that is no longer the claim's, a pool that was deleted: the claim ends", async () => {
  const lost = await life();
  await lost.go();
  await lost.host.patch(MACHINE, "gpu-1", undefined, { spec: { claimRef: { uid: "other" } } });
  await lost.go();
  expect(lost.events).toContain("MachineLost");
  const orphan = await life();
  await orphan.go();
  await orphan.host.delete(NODE_POOL, "gpu");
  await orphan.go();
  expect(orphan.events).toContain("NodePoolGone");
});

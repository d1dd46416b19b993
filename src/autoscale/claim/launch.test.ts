import { describe, expect, test } from "vitest";
import { MACHINE } from "../../core/resources.ts";
import { claim, life, machine, said } from "./life.fixture.ts";

test("a free machine becomes the claim's, and the claim says what it gets", async () => {
  const one = await life();
  const after = await one.go();
  expect((await one.machine())?.spec.claimRef).toEqual({ name: "gpu-abcde", uid: "claim-uid", tenant: "default.acme" });
  expect(said(after, "Launched")).toBe("True/Launched");
  expect(after?.status).toMatchObject({
    providerID: "ironwright://gpu-1",
    capacity: { cpu: "2", memory: "2Gi", "nvidia.com/gpu": "1", pods: "110" },
  });
  expect(said(after, "Ready")).toBe("Unknown/ReconcilingDependents");
});

test("killed between the machine and the status: the next round only writes the status", async () => {
  const one = await life({
    machine: machine({
      spec: { claimRef: { name: "gpu-abcde", uid: "claim-uid", tenant: "default.acme" } },
      status: { phase: "Installing" },
    }),
  });
  expect(said(await one.go(), "Launched")).toBe("True/Launched");
});

describe("a machine that cannot be had ends the claim, and nothing is done to the machine", () => {
  test.each([
    ["taken", machine({ spec: { claimRef: { name: "other", uid: "other", tenant: "default.beta" } } })],
    ["in maintenance", machine({ spec: { maintenance: true } })],
    ["not available", machine({ status: { phase: "Releasing" } })],
    ["not wiped", machine({ status: { lastTenant: "default.beta" } })],
    [
      "quarantined",
      machine({ status: { conditions: [{ type: "Quarantined", status: "True", reason: "x", message: "", lastTransitionTime: "" }] } }),
    ],
  ])("%s", async (_name, taken) => {
    const one = await life({ machine: taken });
    await one.go();
    expect(one.events).toContain("InsufficientCapacity");
    expect((await one.machine())?.spec).toEqual(taken.spec);
    expect(await one.go()).toBeUndefined();
  });

  test("gone", async () => {
    const one = await life();
    await one.host.delete(MACHINE, "gpu-1");
    expect(await one.go(2)).toBeUndefined();
  });
});

test("a claim of somebody else is left alone", async () => {
  const { annotations: _none, ...metadata } = claim().metadata;
  const one = await life({ claim: { ...claim(), metadata } });
  expect((await one.go())?.status).toBeUndefined();
  expect((await one.machine())?.spec.claimRef).toBeUndefined();
});

import { expect, test } from "vitest";
import type { NodeClaim } from "../core/resources.ts";
import { afterClaim } from "./given-back.ts";

function claim(uid: string, conditions: Record<string, ["True" | "Unknown", string]>): NodeClaim {
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name: uid, uid, deletionTimestamp: "2026-03-01T11:00:00Z" },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "x" }, requirements: [] },
    status: {
      capacity: { cpu: "64", "nvidia.com/gpu": "4" },
      conditions: Object.entries(conditions).map(([type, [status, lastTransitionTime]]) => ({
        type,
        status,
        reason: type,
        message: "",
        lastTransitionTime,
      })),
    },
  };
}

const LEFT = claim("left", { Launched: ["True", "2026-03-01T10:00:00Z"], InstanceTerminating: ["True", "2026-03-01T11:30:00Z"] });

test("a claim that ends counts from when its machine was taken until its node had left", () => {
  expect(afterClaim(undefined, LEFT, [LEFT])).toEqual({ nodeSeconds: 5_400, gpuSeconds: 21_600, claims: ["left"] });
});

test("one whose machine was taken from it counts until it was deleted; one that never had a machine not at all", () => {
  const taken = claim("taken", { Launched: ["True", "2026-03-01T10:00:00Z"], InstanceTerminating: ["Unknown", "2026-03-01T12:00:00Z"] });
  expect(afterClaim(undefined, taken, [])).toMatchObject({ nodeSeconds: 3_600 });
  expect(afterClaim(undefined, claim("never", {}), [])).toBeUndefined();
});

test("added to what was, and once: who is tried again changes nothing, and claims that are gone are forgotten", () => {
  const before = { nodeSeconds: 100, gpuSeconds: 10, claims: ["gone", "there"] };
  const after = afterClaim(before, LEFT, [LEFT, claim("there", {})]);
  expect(after).toEqual({ nodeSeconds: 5_500, gpuSeconds: 21_610, claims: ["there", "left"] });
  expect(afterClaim(after, LEFT, [LEFT])).toBe(after);
});

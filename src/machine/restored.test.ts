import fc from "fast-check";
import { expect, test } from "vitest";
import { condition, isTrue } from "../core/conditions.ts";
import type { Machine, MachineStatus, Phase } from "../core/resources.ts";
import { mayCarryTenant } from "../core/tenancy.ts";
import { next } from "./life.ts";
import { machine, operation } from "./machine.fixture.ts";
import { afterLook, afterRestore, type BootIntentSeen, wasJudged, whyUnproven } from "./restored.ts";

const NOW = new Date("2026-01-02T00:00:00Z");
const from = { id: "ab12cd", takenAt: "2026-01-01T00:00:00Z", now: NOW };
const claimRef = { name: "c-1", uid: "u-1", tenant: "default.acme" };
const phases = ["Discovered", "Inspecting", "Available", "Installing", "Joining", "InUse", "Releasing"] as const;

function restored(status: MachineStatus, spec: Partial<Machine["spec"]> = {}, seen?: BootIntentSeen): Machine {
  const before = machine(status, spec);
  return { ...before, status: afterRestore(before, seen, from) };
}

const anyMachine = fc.record({
  phase: fc.constantFrom<Phase>(...phases),
  kind: fc.constantFrom("inspect", "install", "release", undefined),
  state: fc.constantFrom("Running", "Succeeded", "Failed"),
  attempt: fc.integer({ min: 0, max: 5 }),
  claimed: fc.boolean(),
  erase: fc.boolean(),
  lastTenant: fc.constantFrom(undefined, "default.acme"),
  quarantined: fc.boolean(),
});

test("whatever a machine was, after a restore it is neither installed nor released, and out of reach of the planner", () => {
  fc.assert(
    fc.property(
      anyMachine,
      fc.constantFrom("none", "live", "ending", "over"),
      fc.boolean(),
      fc.boolean(),
      (was, claim, credentialsChanged, maintained) => {
        const { kind, phase, lastTenant } = was;
        const status: MachineStatus = {
          phase,
          ...(kind ? { operation: operation({ kind, state: was.state, attempt: was.attempt }) } : {}),
          ...(lastTenant ? { lastTenant } : {}),
          ...(was.quarantined
            ? {
                conditions: [
                  { type: "Quarantined", status: "True", reason: "IRW_GPU_GATE", message: "", lastTransitionTime: from.takenAt },
                ],
              }
            : {}),
        };
        const one = restored(status, { erase: was.erase, maintenance: maintained, ...(was.claimed ? { claimRef } : {}) });
        expect(isTrue(one.status?.conditions, "Quarantined")).toBe(true);
        expect(mayCarryTenant(one.status)).toBe(true);
        expect(one.status?.operation?.state).not.toBe("Running");
        expect(one.status?.operation?.fence).toBeGreaterThanOrEqual(1_000_000);
        const decision = next(one, { claim, now: NOW, credentialsChanged });
        // let go takes off a claim that is over; nothing is done to the machine
        expect(["rest", "wait", "let go", "start"]).toContain(decision.do);
        if (decision.do !== "start") return;
        expect(decision.kind).toBe("inspect");
        expect(["Discovered", "Available"]).toContain(phase);
        expect(claim).toBe("none");
      },
    ),
  );
});

test.each<[string, Machine, string, RegExp]>([
  ["at rest", restored({ phase: "Available" }), "RestoredFromBackup", /last known Available; it is inspected if its power is off/],
  ["in use", restored({ phase: "InUse" }, { claimRef }), "RestoredFromBackup", /for claim c-1; it is believed again as soon as its node/],
  ["on the move", restored({ phase: "Joining" }, { claimRef }), "DivergedFromBackup", /it was Joining/],
  ["an operation under way", restored({ phase: "Available", operation: operation() }), "DivergedFromBackup", /nobody knows/],
  [
    "its boot record ahead",
    restored({ phase: "Available", operation: operation({ state: "Succeeded", nonce: "old" }) }, {}, { boot: "installer", nonce: "new" }),
    "DivergedFromBackup",
    /boot record is ahead/,
  ],
])("%s", (_, one, reason, message) => {
  const found = condition(one.status?.conditions, "Quarantined");
  expect(found?.reason).toBe(reason);
  expect(found?.message).toMatch(message);
  expect(found?.message).toContain("backup of 2026-01-01T00:00:00Z (restore ab12cd)");
  expect([wasJudged(one, from), wasJudged(one, { id: "another" })]).toEqual([true, false]);
});

test("a node that answers its tenant makes its machine believed again, and one of another life does not", () => {
  const one = restored({ phase: "InUse", lastTenant: "default.acme" }, { claimRef });
  const at = { now: NOW, credentialsChanged: false } as const;
  expect(next(one, { ...at, claim: "live", nodeAnswered: true }).do).toBe("believe");
  expect(next(one, { ...at, claim: "live", nodeAnswered: false }).do).toBe("wait");
  expect(next(one, { ...at, claim: "over", nodeAnswered: true }).do).toBe("wait");
});

test.each<[Phase, Phase]>([
  ["Inspecting", "Discovered"],
  ["Installing", "Releasing"],
  ["Joining", "Releasing"],
  ["Available", "Available"],
  ["InUse", "InUse"],
  ["Releasing", "Releasing"],
])("a person looked at one that was %s: it is %s, and wiped before anybody gets it", (was, is) => {
  const looked = afterLook(
    restored({ phase: was, operation: operation({ kind: "install", state: "Failed", attempt: 3 }) }, { claimRef }),
    NOW,
  );
  expect(looked.phase).toBe(is);
  const one = machine(looked, is === "InUse" ? { claimRef } : {});
  expect(whyUnproven(one)).toBeUndefined();
  expect(mayCarryTenant(one.status)).toBe(true);
  const decision = next(one, { claim: is === "InUse" ? "live" : "none", now: NOW, credentialsChanged: false });
  if (is === "InUse") expect(decision.do).toBe("rest");
  else expect(decision).toMatchObject({ do: "start", kind: is === "Discovered" ? "inspect" : "release" });
});

import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { condition, isTrue } from "../core/conditions.ts";
import type { Machine, MachineStatus, Phase } from "../core/resources.ts";
import { mayCarryTenant } from "../core/tenancy.ts";
import type { Node } from "../kube/index.ts";
import { startDropbear } from "./dropbear.fixture.ts";
import { next } from "./life.ts";
import { machine, operation } from "./machine.fixture.ts";
import { afterLook, afterRestore, type BootIntentSeen, hasReported, wasJudged, whoAnswers, whyUnproven } from "./restored.ts";
import { daemonKey } from "./ssh-key.ts";

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

const reported = (lastHeartbeatTime: string, providerID = "ironwright://m-1", status: "True" | "False" = "True"): Node => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "m-1" },
  spec: { providerID },
  status: { conditions: [{ type: "Ready", status, lastHeartbeatTime }] },
});

test.each<[string, boolean, Node | undefined]>([
  ["a report since the restore", true, reported("2026-01-02T00:01:00Z")],
  ["no node", false, undefined],
  ["a report from before", false, reported("2026-01-01T23:59:59Z")],
  ["a report from a time to come", false, reported("2026-01-02T00:05:01Z")],
  ["no time", false, reported("soon")],
  ["another machine", false, reported("2026-01-02T00:01:00Z", "ironwright://m-2")],
  ["a node that is not ready", false, reported("2026-01-02T00:01:00Z", undefined, "False")],
])("%s: worth to ask the machine is %s", (_, expected, node) => {
  const one = restored({ phase: "InUse", lastTenant: "default.acme" }, { claimRef });
  expect(hasReported(one, node, new Date("2026-01-02T00:05:00Z"))).toBe(expected);
});

test("a machine proves itself by the host key of its installation, whether it lets us in or not, and by nothing else", async () => {
  const [server, stranger] = [await startDropbear(), await startDropbear()];
  try {
    const ask = (status: MachineStatus, key = server.key, port = server.port) =>
      whoAnswers(machine({ phase: "InUse", ...status }), { port, key, signal: AbortSignal.timeout(20_000) });
    const known = { address: "127.0.0.1", hostKey: server.hostKey };
    expect(await ask(known)).toBe("itself");
    expect(await ask(known, await daemonKey(join(server.dir, "removed")))).toBe("itself");
    expect(await ask(known, server.key, stranger.port)).toBe("another");
    expect(await ask(known, server.key, 1)).toBe("nobody");
    expect(await ask({ address: "127.0.0.1" })).toBe("nobody");
    expect(await ask({ hostKey: server.hostKey })).toBe("nobody");
    const over = AbortSignal.abort(new Error("time is over"));
    expect(await whoAnswers(machine(known), { port: server.port, key: server.key, signal: over })).toBe("nobody");
  } finally {
    await Promise.all([server.stop(), stranger.stop()]);
  }
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

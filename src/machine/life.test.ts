import { expect, test } from "vitest";
import type { Condition } from "../core/conditions.ts";
import type { Machine, MachineSpec, MachineStatus, Phase } from "../core/resources.ts";
import { type ClaimState, type Decision, next, retryAfterMs } from "./life.ts";
import { machine, operation } from "./machine.fixture.ts";

const NOW = new Date("2026-01-01T00:10:00Z");
const LATER = "2026-01-01T00:11:00Z";
const BEFORE = "2026-01-01T00:09:00Z";
const claimRef = { name: "c-1", uid: "u-1", tenant: "default.acme" };

function is(type: string, status: Condition["status"] = "True"): Condition {
  return { type, status, reason: "Test", message: "", lastTransitionTime: BEFORE };
}

function decide(phase: Phase, claim: ClaimState, status: MachineStatus = {}, spec: Partial<MachineSpec> = {}, changed = false): string {
  return text(next(machine({ phase, ...status }, spec), { claim, now: NOW, credentialsChanged: changed }));
}

function text(decision: Decision): string {
  return decision.do === "start" ? `${decision.kind} ${decision.attempt} -> ${decision.phase}` : decision.do;
}

const refused = { conditions: [is("CredentialsValid", "False")], operation: operation({ state: "Failed" }) };
const failed = (kind: "inspect" | "install" | "release", attempt: number, nextTryAt = BEFORE) =>
  operation({ kind, state: "Failed", attempt, nextTryAt });
const inspected = { conditions: [is("Inspected")], operation: operation({ state: "Succeeded" }) };
const tenants = { lastTenant: "default.acme" };

test.each<[string, string, string]>([
  // resting phases: only a person or a claim moves the machine
  ["a new machine is inspected", decide("Discovered", "none"), "inspect 1 -> Inspecting"],
  ["one in maintenance is left alone", decide("Discovered", "none", {}, { maintenance: true }), "rest"],
  [
    "data without consent: inspected once, then left alone",
    decide("Discovered", "none", { conditions: [is("Inspected"), is("ConsentMissing")] }),
    "rest",
  ],
  [
    "consent given later: inspected again",
    decide("Discovered", "none", { conditions: [is("Inspected"), is("ConsentMissing")] }, { erase: true }),
    "inspect 1 -> Inspecting",
  ],
  ["available without a claim", decide("Available", "none", inspected), "rest"],
  ["available with a claim", decide("Available", "live", inspected, { claimRef }), "install 1 -> Installing"],
  ["a claim that ended before anything was done", decide("Available", "over", inspected, { claimRef }), "let go"],
  ["a claim on its way out before anything was done", decide("Available", "ending", inspected, { claimRef }), "let go"],
  [
    "a quarantined machine is not installed",
    decide("Available", "live", { ...inspected, conditions: [is("Quarantined")] }, { claimRef }),
    "rest",
  ],
  ["never to the next tenant unwiped", decide("Available", "live", { ...inspected, ...tenants }, { claimRef }), "release 1 -> Releasing"],
  ["in use, its claim alive", decide("InUse", "live", tenants, { claimRef }), "rest"],
  ["in use, its node still drained", decide("InUse", "ending", tenants, { claimRef }), "rest"],
  ["in use, its claim over", decide("InUse", "over", tenants, { claimRef }), "release 1 -> Releasing"],
  ["in use, but nobody names it", decide("InUse", "none", tenants), "release 1 -> Releasing"],
  ["maintenance does not take a machine from its claim", decide("InUse", "live", tenants, { claimRef, maintenance: true }), "rest"],

  // moving phases: the operation goes on, or is left
  ["an operation goes on", decide("Inspecting", "none", { operation: operation() }), "continue"],
  ["also in maintenance", decide("Inspecting", "none", { operation: operation() }, { maintenance: true }), "continue"],
  [
    "an installation whose claim ended is left",
    decide("Installing", "over", { operation: operation({ kind: "install" }) }, { claimRef }),
    "release 1 -> Releasing",
  ],
  ["so is a joining one", decide("Joining", "over", { operation: operation({ kind: "install" }) }, { claimRef }), "release 1 -> Releasing"],
  [
    "a claim on its way out is waited for",
    decide("Joining", "ending", { operation: operation({ kind: "install" }) }, { claimRef }),
    "continue",
  ],
  [
    "a release goes on whatever the claim says",
    decide("Releasing", "over", { operation: operation({ kind: "release" }) }, { claimRef }),
    "continue",
  ],

  // failures: never a phase, always a next try
  ["a failed inspection waits", decide("Discovered", "none", { operation: failed("inspect", 1, LATER) }), "wait"],
  ["and is tried again", decide("Discovered", "none", { operation: failed("inspect", 1) }), "inspect 2 -> Inspecting"],
  ["however often", decide("Discovered", "none", { operation: failed("inspect", 9) }), "inspect 10 -> Inspecting"],
  ["a failed installation", decide("Installing", "live", { operation: failed("install", 1) }, { claimRef }), "install 2 -> Installing"],
  ["but not for a claim on its way out", decide("Installing", "ending", { operation: failed("install", 1) }, { claimRef }), "rest"],
  ["after three the claim goes elsewhere", decide("Installing", "live", { operation: failed("install", 3) }, { claimRef }), "rest"],
  [
    "and once it went, the machine is wiped",
    decide("Installing", "over", { ...tenants, operation: failed("install", 3) }, { claimRef }),
    "release 1 -> Releasing",
  ],
  [
    "a failed release is never given up",
    decide("Releasing", "over", { operation: failed("release", 9) }, { claimRef }),
    "release 10 -> Releasing",
  ],
  ["nothing is tried in maintenance", decide("Releasing", "over", { operation: failed("release", 1) }, { maintenance: true }), "rest"],
  ["refused credentials are not tried again", decide("Discovered", "none", refused), "rest"],
  ["until the Secret is another, and then at once", decide("Discovered", "none", refused, {}, true), "inspect 2 -> Inspecting"],
  [
    "and then in time, where the BMC cannot be asked about the new Secret",
    decide("Discovered", "none", { ...refused, operation: failed("inspect", 2, LATER) }, {}, true),
    "wait",
  ],
])("%s", (_name, got, want) => {
  expect(got).toBe(want);
});

test("a deleted Machine is let go only at rest and without a tenant's data", () => {
  const deleted = (one: Machine): Machine => ({ ...one, metadata: { ...one.metadata, deletionTimestamp: BEFORE } });
  const at = { claim: "none", now: NOW, credentialsChanged: false } as const;
  expect(next(deleted(machine({ phase: "Available" })), at).do).toBe("forget");
  expect(text(next(deleted(machine({ phase: "Available", lastTenant: "a.b" })), at))).toBe("release 1 -> Releasing");
  expect(next(deleted(machine({ phase: "Inspecting", operation: operation() })), at).do).toBe("continue");
});

test("tries are further and further apart, up to a bound", () => {
  const all = [1, 2, 3, 4, 5, 6, 20].map(retryAfterMs);
  expect(all).toEqual([10_000, 30_000, 90_000, 270_000, 600_000, 600_000, 600_000]);
});

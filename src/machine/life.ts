import { condition, isTrue } from "../core/conditions.ts";
import type { Machine, Operation, OperationKind, Phase } from "../core/resources.ts";
import { mayCarryTenant } from "../core/tenancy.ts";
import { RESTORED, whyUnproven } from "./restored.ts";
import { phaseOf } from "./status.ts";

/** What has become of the claim that the Machine names. */
export type ClaimState =
  /** The Machine names none. */
  | "none"
  | "live"
  /** On its way out, but its node is still drained. */
  | "ending"
  /** Its node is gone for good, or it is: the machine may be taken back. */
  | "over";

export type Decision =
  | { readonly do: "start"; readonly kind: OperationKind; readonly phase: Phase; readonly attempt: number; readonly why: string }
  /** The operation goes on: somebody must be working on it. */
  | { readonly do: "continue" }
  /** The claim ended before anything was done for it. */
  | { readonly do: "let go" }
  /** After a restore: it proved itself and its node answers its tenant, so its record is believed again. */
  | { readonly do: "believe"; readonly why: string }
  | { readonly do: "wait"; readonly until: string; readonly why: string }
  /** The Machine is being deleted and nothing is left to do. */
  | { readonly do: "forget" }
  | { readonly do: "rest"; readonly why: string };

export interface Circumstances {
  readonly claim: ClaimState;
  readonly now: Date;
  /** The Secret that the BMC refused is another one now. */
  readonly credentialsChanged: boolean;
  /** After a restore: it has proven itself, and its node has answered its tenant since. */
  readonly nodeAnswered?: boolean;
}

/** After so many failed attempts in a row the machine is quarantined. */
export const ATTEMPTS = 3;
export const DEADLINE_MS: Readonly<Record<OperationKind, number>> = {
  inspect: 15 * 60_000,
  install: 45 * 60_000,
  // overwriting every disk with zeros takes its time
  release: 24 * 3_600_000,
};
const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 10 * 60_000;

const ENDING = "its claim is on its way out: it is released once the node is drained";

/** When to try again after a failed attempt. */
export function retryAfterMs(attempt: number): number {
  return Math.min(FIRST_RETRY_MS * 3 ** (attempt - 1), LAST_RETRY_MS);
}

/**
 * What happens next in a Machine's life: a pure function of what is known. Only a person or a claim moves a machine out
 * of a resting phase; every moving phase can be left.
 */
export function next(machine: Machine, at: Circumstances): Decision {
  const phase = phaseOf(machine);
  const operation = machine.status?.operation;
  if (whyUnproven(machine)) return whileUnproven(machine, phase, at);
  if (operation?.state === "Running") return whileRunning(machine, phase, at);
  if (machine.metadata.deletionTimestamp && isResting(phase) && !mayCarryTenant(machine.status)) return { do: "forget" };
  if (machine.spec.maintenance) return rest("maintenance: no new operation begins");
  if (operation?.state === "Failed" && !isSettled(phase, operation)) return afterFailure(machine, phase, operation, at);
  switch (phase) {
    case "Discovered":
      return discovered(machine);
    case "Available":
      return available(machine, at);
    case "Inspecting":
      return start("inspect", 1, "it was not inspected to the end");
    case "Installing":
    case "Joining":
      if (at.claim === "ending") return rest(ENDING);
      return at.claim === "live" ? start("install", 1, "its claim waits") : release(1, "its claim ended");
    case "InUse":
      return inUse(at);
    case "Releasing":
      return release(1, "it was not released to the end");
  }
}

function whileRunning(machine: Machine, phase: Phase, at: Circumstances): Decision {
  const installing = machine.status?.operation?.kind === "install";
  if (installing && isOver(at.claim)) return release(1, `its claim ended while it was ${phase}`);
  return { do: "continue" };
}

/** How often it is looked whether a node has answered. */
const NODE_LOOK_MS = 15_000;

/** Known from a backup alone: nothing begins but what proves it, and that touches neither power that is on nor data that is there. */
function whileUnproven(machine: Machine, phase: Phase, at: Circumstances): Decision {
  const operation = machine.status?.operation;
  if (operation?.state === "Running") return { do: "continue" };
  if (machine.spec.maintenance) return rest("maintenance: no new operation begins");
  if (whyUnproven(machine) !== RESTORED) return rest("it is not as the backup has it: somebody must look");
  if (phase === "InUse") {
    if (at.claim === "live" && at.nodeAnswered)
      return { do: "believe", why: "it shows the key of its installation, and its node has reported since the restore" };
    return {
      do: "wait",
      until: new Date(at.now.getTime() + NODE_LOOK_MS).toISOString(),
      why: "its node has not answered since the restore",
    };
  }
  if (at.claim === "over") return { do: "let go" };
  if (at.claim !== "none") return rest("quarantined: its claim goes to another machine");
  if (isTrue(machine.status?.conditions, "ConsentMissing") && !machine.spec.erase)
    return rest("it carries data and nobody consented to erase it");
  if (operation?.kind === "inspect" && operation.state === "Failed" && operation.attempt > 0)
    return afterFailure(machine, phase, operation, at);
  return start("inspect", 1, "it is known from a backup alone");
}

function afterFailure(machine: Machine, phase: Phase, operation: Operation, at: Circumstances): Decision {
  if (operation.kind === "install" && isOver(at.claim)) return release(1, `its claim ended while it was ${phase}`);
  if (operation.kind === "install" && at.claim === "ending") return rest(ENDING);
  if (operation.kind === "install" && operation.attempt >= ATTEMPTS) return rest("quarantined: its claim goes to another machine");
  if (condition(machine.status?.conditions, "CredentialsValid")?.status === "False" && !at.credentialsChanged)
    return rest("the BMC refuses its credentials: waiting for another Secret, so that the account is not locked");
  const due = operation.nextTryAt;
  if (due && Date.parse(due) > at.now.getTime()) return { do: "wait", until: due, why: "a failed attempt" };
  return start(operation.kind, operation.attempt + 1, `attempt ${operation.attempt} failed`);
}

function discovered(machine: Machine): Decision {
  const inspected = condition(machine.status?.conditions, "Inspected");
  if (inspected?.status !== "True") return start("inspect", 1, "it is new");
  if (isTrue(machine.status?.conditions, "ConsentMissing") && !machine.spec.erase)
    return rest("it carries data and nobody consented to erase it");
  return start("inspect", 1, "its owner consented to erase it");
}

function available(machine: Machine, at: Circumstances): Decision {
  switch (at.claim) {
    case "none":
      return mayCarryTenant(machine.status) ? release(1, "it may carry a tenant's data") : rest("it waits for a claim");
    case "live":
      if (isTrue(machine.status?.conditions, "Quarantined")) return rest("quarantined");
      return mayCarryTenant(machine.status) ? release(1, "it may carry a tenant's data") : start("install", 1, "a claim names it");
    case "ending":
    case "over":
      return mayCarryTenant(machine.status) ? release(1, "it may carry a tenant's data") : { do: "let go" };
  }
}

function inUse(at: Circumstances): Decision {
  return isOver(at.claim) ? release(1, "its claim ended") : rest("a claim has it");
}

/** A failure that the phase has left behind: an inspection that failed leads back to Discovered and is tried from there. */
function isSettled(phase: Phase, operation: Operation): boolean {
  if (phase === "Discovered") return operation.kind !== "inspect";
  return phase === "Available" || phase === "InUse";
}

function isOver(claim: ClaimState): boolean {
  return claim === "over" || claim === "none";
}

function isResting(phase: Phase): boolean {
  return phase === "Discovered" || phase === "Available" || phase === "InUse";
}

const PHASE: Readonly<Record<OperationKind, Phase>> = { inspect: "Inspecting", install: "Installing", release: "Releasing" };

function start(kind: OperationKind, attempt: number, why: string): Decision {
  return { do: "start", kind, phase: PHASE[kind], attempt, why };
}

function release(attempt: number, why: string): Decision {
  return start("release", attempt, why);
}

function rest(why: string): Decision {
  return { do: "rest", why };
}

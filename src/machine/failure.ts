import type { NewCondition } from "../core/conditions.ts";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { MachineStatus, OperationKind } from "../core/resources.ts";
import { ATTEMPTS, retryAfterMs } from "./life.ts";
import { DIVERGED, whyUnproven } from "./restored.ts";
import { withFact, withNews, withOperation } from "./status.ts";
import { eventReason, generation, type Work } from "./work.ts";

/** The condition that tells how the last operation of a kind ended. */
const CONDITION: Readonly<Record<OperationKind, string>> = { inspect: "Inspected", install: "Installed", release: "Released" };

/** A failed attempt is a condition with its cause and its next try, never a phase; and it is known after a restart. */
export async function recordFailure(work: Work, thrown: unknown, deadlinePassed: boolean): Promise<void> {
  const { clock, operation, tools } = work;
  const error = deadlinePassed ? overdue(work) : thrown;
  const code = error instanceof IronwrightError ? error.code : "InternalError";
  const message = reasonOf(error);
  const advice = error instanceof IronwrightError ? `; ${error.next}` : "";
  tools.log.warn({ err: error, step: work.machine.status?.operation?.step }, "operation failed");

  await work.update((status, machine) => {
    const now = clock.now();
    const failedAttempts = operation.attempt;
    const quarantined = failedAttempts >= ATTEMPTS;
    // a claim that ended is no failure of the machine: it is decided on anew at once
    const claimLost = code === "IRW_CLAIM_LOST";
    const givesUp = quarantined && operation.kind === "install";
    // where it waits for something else, no time is promised
    const nextTryAt =
      givesUp || code === "IRW_BMC_CREDENTIALS" ? undefined : new Date(now.getTime() + retryAfterMs(failedAttempts)).toISOString();
    const say = (status: MachineStatus, one: Omit<NewCondition, "observedGeneration">) =>
      withFact(status, { ...one, ...generation(machine) }, now);

    const when = givesUp ? "its claim goes to another machine" : `next try ${nextTryAt ?? "when its Secret changes"}`;
    const text = `${message}${advice}. Attempt ${failedAttempts}; ${when}`;
    let next = withOperation(status, { state: "Failed", ...(nextTryAt ? { nextTryAt } : {}) });
    if (operation.kind === "inspect") next = { ...next, phase: "Discovered" };
    if (!claimLost) next = say(next, { type: CONDITION[operation.kind], status: "False", reason: code, message: text });
    next = withBmcCondition(next, { reason: code, message: text }, say);
    // what proves a restored machine may fail as often as it likes: it is out of use already
    const unproven = whyUnproven(machine);
    if (unproven) next = code === "IRW_RESTORE_DIVERGED" ? withDivergence(next, error, generation(machine), now) : next;
    else if (quarantined && !claimLost) next = say(next, { type: "Quarantined", status: "True", reason: code, message });
    const step = status.operation?.step;
    return withNews(next, `${operation.kind} failed`, `${step ? `at ${step}: ` : ""}${message}`, now, elapsed(operation.startedAt, now));
  });
  work.event("Warning", eventReason(operation.kind, "Failed"), `${message}${advice}`);
}

/** From here on a person decides. */
function withDivergence(status: MachineStatus, error: unknown, at: { observedGeneration?: number }, now: Date): MachineStatus {
  const advice = error instanceof IronwrightError ? `; ${error.next}` : "";
  return withFact(status, { type: "Quarantined", status: "True", reason: DIVERGED, message: `${reasonOf(error)}${advice}`, ...at }, now);
}

type Say = (status: MachineStatus, one: Omit<NewCondition, "observedGeneration">) => MachineStatus;

function withBmcCondition(status: MachineStatus, told: Pick<NewCondition, "reason" | "message">, say: Say): MachineStatus {
  switch (told.reason) {
    case "IRW_BMC_UNREACHABLE":
    case "IRW_BMC_CERTIFICATE":
    case "IRW_BMC_ANSWER":
    case "IRW_BMC_ADDRESS":
      return say(status, { type: "BMCReachable", status: "False", ...told });
    case "IRW_BMC_CREDENTIALS":
      return say(status, { type: "CredentialsValid", status: "False", ...told });
    default:
      return status;
  }
}

function overdue(work: Work): IronwrightError {
  const { operation, name } = work;
  const step = `${operation.kind} (${work.machine.status?.operation?.step ?? "start"})`;
  const after = formatDuration(Date.parse(operation.deadline) - Date.parse(operation.startedAt));
  return new IronwrightError("IRW_STEP_TIMEOUT", { machine: name, step, after });
}

function elapsed(since: string, now: Date): number {
  return (now.getTime() - Date.parse(since)) / 1_000;
}

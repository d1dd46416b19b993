import { condition } from "../core/conditions.ts";
import { isError } from "../core/errors.ts";
import { providerId } from "../core/names.ts";
import { MACHINE, type Machine, type MachineStatus, type Operation } from "../core/resources.ts";
import { WIPE_UNPROVEN } from "../core/tenancy.ts";
import type { EventRecorder, Kube, Node } from "../kube/index.ts";
import type { Logger } from "../observe/index.ts";
import { connectSsh, type SshTarget } from "./ssh.ts";
import { parseHostKey } from "./ssh-key.ts";
import { phaseOf, statusOf, withFact, withNews, without } from "./status.ts";
import { generation } from "./work.ts";

/** A machine known from a backup alone: the backup may have been overtaken. Proof is looked for. */
export const RESTORED = "RestoredFromBackup";
/** A machine that is seen not to be as the backup has it, or that was on the move: a person decides. */
export const DIVERGED = "DivergedFromBackup";

/** What was restored, and when. */
export interface RestoredFrom {
  readonly id: string;
  /** RFC 3339. */
  readonly takenAt: string;
  readonly now: Date;
}

/** What the boot plane's own record says, which is a moment younger than the control plane's. */
export type BootIntentSeen = { readonly boot: "installer"; readonly nonce: string } | { readonly boot: "disk" } | undefined;

/**
 * More operations than any machine can have had since the backup: workers of the host that died, should it come back, and the
 * machine's own memory of its last fence must all be behind.
 */
const FENCE_JUMP = 1_000_000;
const MOVING: ReadonlySet<string> = new Set(["Inspecting", "Installing", "Joining", "Releasing"]);

/** Why nothing may begin on it, or undefined when its record is as good as ever. */
export function whyUnproven(machine: Machine): typeof RESTORED | typeof DIVERGED | undefined {
  const found = condition(machine.status?.conditions, "Quarantined");
  if (found?.status !== "True") return undefined;
  return found.reason === RESTORED || found.reason === DIVERGED ? found.reason : undefined;
}

/** The machine's status after a restore: quarantined, its wipe no longer believed, its fence beyond every one given out. */
export function afterRestore(machine: Machine, seen: BootIntentSeen, from: RestoredFrom): MachineStatus {
  const status = statusOf(machine);
  const why = overtaken(machine, seen);
  const taken = `restored from a backup of ${from.takenAt} (restore ${from.id})`;
  const known = `last known ${phaseOf(machine)}${machine.spec.claimRef ? ` for claim ${machine.spec.claimRef.name}` : ""}`;
  const way = why
    ? "look whose it is, then set spec.maintenance to true and back: its record is believed again, and its disks are wiped before a next tenant"
    : machine.status?.phase === "InUse"
      ? "it is believed again as soon as its node reports to its tenant and it shows the SSH host key of its installation; or set spec.maintenance to true and back"
      : "it is inspected if its power is off, and wiped; or look at it, and set spec.maintenance to true and back";
  const message = `${taken}; ${known}${why ? `; ${why}` : ""}; ${way}`;
  const operation = status.operation;
  const stopped: Operation = operation
    ? {
        ...withoutNonce(operation),
        fence: operation.fence + FENCE_JUMP,
        ...(operation.state === "Running" ? { state: "Failed" as const } : {}),
      }
    : first(from.now);
  const judged = withFact(
    withFact(
      { ...without(status, "Quarantined"), operation: stopped },
      { type: WIPE_UNPROVEN, status: "True", reason: RESTORED, message: taken },
      from.now,
    ),
    { type: "Quarantined", status: "True", reason: why ? DIVERGED : RESTORED, message, ...generation(machine) },
    from.now,
  );
  return withNews(judged, "Restored", `${taken}: quarantined${why ? `, ${why}` : " until it is proven"}`, from.now);
}

export function wasJudged(machine: Machine, { id }: Pick<RestoredFrom, "id">): boolean {
  return condition(machine.status?.conditions, "Quarantined")?.message.includes(`(restore ${id})`) === true;
}

function overtaken(machine: Machine, seen: BootIntentSeen): string | undefined {
  const phase = phaseOf(machine);
  const operation = machine.status?.operation;
  if (MOVING.has(phase) || operation?.state === "Running") return `it was ${phase}, and what has become of it nobody knows`;
  // the boot plane is copied after the control plane: what it has begun, the control plane had not heard of
  if (seen?.boot === "installer" && seen.nonce !== operation?.nonce)
    return "its boot record is ahead: an operation began that this record knows nothing of";
  return undefined;
}

/**
 * Whether its node has reported since the quarantine. Its tenant can write all of that, and a time to come would be a report for
 * ever: it says when to ask the machine, and proves nothing.
 */
export function hasReported(machine: Machine, node: Node | undefined, now: Date): boolean {
  const since = condition(machine.status?.conditions, "Quarantined")?.lastTransitionTime;
  const ready = node?.status?.conditions?.find((one) => one.type === "Ready");
  if (node?.spec.providerID !== providerId(machine.metadata.name) || ready?.status !== "True") return false;
  const at = Date.parse(ready.lastHeartbeatTime ?? "");
  return at > Date.parse(since ?? "") && at <= now.getTime();
}

/** Who answers at the machine's address: it, with the key of its installation; somebody with another key; or nobody. */
export async function whoAnswers(
  { status }: Machine,
  by: Pick<SshTarget, "port" | "key" | "signal">,
): Promise<"itself" | "another" | "nobody"> {
  const hostKey = parseHostKey(status?.hostKey ?? "");
  if (!status?.address || !hostKey) return "nobody";
  try {
    (await connectSsh({ ...by, address: status.address, hostKey })).close();
    return "itself";
  } catch (error) {
    // whoever is asked for a key of ours has proven its own before (RFC 4253 §8); an installed system may let nobody in
    if (isError(error, "IRW_SSH_REFUSED")) return "itself";
    if (isError(error, "IRW_SSH_HOST_KEY")) return "another";
    if (isError(error, "IRW_SSH") || by.signal.aborted) return "nobody";
    throw error;
  }
}

function withoutNonce({ nonce: _, nextTryAt: __, ...rest }: Operation): Operation {
  return rest;
}

/** A fence for a machine that had none; nothing of it is taken up. */
function first(now: Date): Operation {
  const at = now.toISOString();
  return { kind: "inspect", fence: FENCE_JUMP, state: "Failed", done: [], startedAt: at, deadline: at, attempt: 0 };
}

/** The status once a person has looked at it: its record is believed, its disks are not. What was on the move is taken back. */
export function afterLook(machine: Machine, now: Date): MachineStatus {
  const phase = phaseOf(machine);
  const next = phase === "Inspecting" ? "Discovered" : phase === "Installing" || phase === "Joining" ? "Releasing" : phase;
  const status = without(statusOf(machine), "Quarantined");
  // at once: what is waited for after a failure is not what a person waits for
  const { operation } = status;
  return withNews(
    { ...status, phase: next, ...(operation ? { operation: withoutNonce(operation) } : {}) },
    "QuarantineLifted",
    "somebody looked at it: maintenance",
    now,
  );
}

/**
 * Before anything else is done to any machine after a restore: quarantines them all. Level-triggered: what was judged is not judged
 * again, so that it may be cut off and run anew. @returns how many machines there are
 */
export async function quarantineRestored(options: {
  readonly kube: Kube;
  readonly from: Omit<RestoredFrom, "now">;
  readonly bootIntent: (machine: string) => BootIntentSeen;
  readonly now: () => Date;
  readonly log: Logger;
  readonly events: EventRecorder;
}): Promise<number> {
  const { kube, from, log } = options;
  const { items } = await kube.list(MACHINE, {});
  for (const listed of items) {
    for (;;) {
      const machine = await kube.get(MACHINE, listed.metadata.name);
      if (!machine || wasJudged(machine, from)) break;
      try {
        const status = afterRestore(machine, options.bootIntent(machine.metadata.name), { ...from, now: options.now() });
        await kube.replaceStatus(MACHINE, { ...machine, status });
        const found = condition(status.conditions, "Quarantined");
        options.events.record(machine, "Warning", found?.reason ?? RESTORED, found?.message ?? "");
        break;
      } catch (error) {
        if (!isError(error, "IRW_KUBE_CONFLICT")) throw error;
      }
    }
  }
  log.warn(
    { machines: items.length, backup: from.takenAt, restore: from.id },
    "restored from a backup: every machine is quarantined until it is proven",
  );
  return items.length;
}

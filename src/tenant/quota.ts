import type { NewCondition } from "../core/conditions.ts";
import type { Weight } from "./etcd-watch.ts";

/**
 * `full`: nothing new is created, changes and deletions go on. `stopped`: etcd takes no write of the tenant, not even a
 * deletion.
 */
export type DatastoreState = "open" | "full" | "stopped";

export type StopReason = "bytes" | "churn" | "shard";

/** What one tenant holds of its shard, and what that led to. */
export interface Usage {
  readonly quotaBytes: number;
  /** As last weighed; absent until it was, and once writes may have been missed. */
  readonly weighed?: Weight;
  /** Put since that weighing began: the tenant holds at most both together. */
  readonly sinceBytes: number;
  /** Keys deleted since. */
  readonly sinceDeletes: number;
  /** Put since the window of compaction began: what history may weigh. */
  readonly windowBytes: number;
  readonly state: DatastoreState;
  /** Where it is stopped for its bytes. Higher after each stop, so that one who is let in again may delete. */
  readonly markBytes: number;
  readonly stop?: { readonly reason: StopReason; readonly untilMs: number };
  /** How often it was stopped since it last had room. */
  readonly stops: number;
}

/** Of the quota: where an etcd of the tenants says no by itself. The policy in the apiserver is the first to say it. */
const STOP_AT = 1.25;
/** Below it a full tenant is open again. */
const OPEN_AT = 0.9;
/** A weighing is worth its cost when so much of the quota was written since the last. */
const STEP = 1 / 32;
/** More room for each time a stopped tenant is let in again. */
const ROOM_AGAIN = 1 / 16;
const HOLD_MS = 5 * 60_000;
const LONGEST_HOLD_MS = 60 * 60_000;

/** @param stopped what its role says: durable, where all this is not */
export function newUsage(quotaBytes: number, stopped: boolean, nowMs: number): Usage {
  return {
    quotaBytes,
    sinceBytes: 0,
    sinceDeletes: 0,
    windowBytes: 0,
    state: stopped ? "stopped" : "open",
    ...(stopped ? { stop: { reason: "bytes" as const, untilMs: nowMs + HOLD_MS } } : {}),
    markBytes: quotaBytes * STOP_AT,
    stops: 0,
  };
}

/** Another quota: its marks are new. */
export function withQuota(usage: Usage, quotaBytes: number): Usage {
  if (usage.quotaBytes === quotaBytes) return usage;
  return { ...usage, quotaBytes, markBytes: quotaBytes * STOP_AT, stops: 0 };
}

/** What the tenant holds at most. */
export function mostBytes({ weighed, sinceBytes }: Usage): number {
  return (weighed?.bytes ?? 0) + sinceBytes;
}

/** Whether it may hold more than its next mark by now. */
export function crosses(usage: Usage): boolean {
  const { weighed, sinceBytes, quotaBytes, state, markBytes } = usage;
  return weighed !== undefined && sinceBytes >= quotaBytes * STEP && mostBytes(usage) >= (state === "open" ? quotaBytes : markBytes);
}

/** Whether a weighing could change what is known to matter. */
export function needsWeighing(usage: Usage): boolean {
  const { weighed, sinceBytes, sinceDeletes, quotaBytes, state } = usage;
  if (!weighed || crosses(usage)) return true;
  return state !== "open" && (sinceDeletes > 0 || sinceBytes >= quotaBytes * STEP);
}

export interface Pressure {
  readonly nowMs: number;
  /** How much a tenant may write between two compactions. */
  readonly churnBytes: number;
  /** The shard has no room, and no other tenant that may write holds more. */
  readonly heaviestOfFullShard: boolean;
}

/** What becomes of the tenant by what is known now. */
export function judge(usage: Usage, pressure: Pressure): Usage {
  if (usage.state === "stopped") return mayReturn(usage, pressure) ? letIn(usage) : usage;
  const reason = reasonToStop(usage, pressure);
  if (reason) {
    const holdMs = Math.min(HOLD_MS * 2 ** usage.stops, LONGEST_HOLD_MS);
    return { ...usage, state: "stopped", stops: usage.stops + 1, stop: { reason, untilMs: pressure.nowMs + holdMs } };
  }
  const { weighed, quotaBytes, state, stops } = usage;
  if (!weighed) return usage;
  if (weighed.bytes >= quotaBytes) return state === "full" ? usage : { ...usage, state: "full" };
  if (weighed.bytes >= quotaBytes * OPEN_AT || (state === "open" && stops === 0)) return usage;
  return { ...usage, state: "open", stops: 0, markBytes: quotaBytes * STOP_AT };
}

function reasonToStop({ weighed, markBytes, windowBytes }: Usage, { churnBytes, heaviestOfFullShard }: Pressure): StopReason | undefined {
  if (heaviestOfFullShard) return "shard";
  if (windowBytes >= churnBytes) return "churn";
  return weighed && weighed.bytes >= markBytes ? "bytes" : undefined;
}

/** When its time is over; at once where its quota was raised, or it holds less than it was taken for. */
function mayReturn({ weighed, stop, markBytes }: Usage, { nowMs, heaviestOfFullShard }: Pressure): boolean {
  if (!weighed || heaviestOfFullShard) return false;
  return nowMs >= (stop?.untilMs ?? 0) || (stop?.reason === "bytes" && weighed.bytes < markBytes);
}

/** A little above what it holds: enough to delete with, and to be stopped again soon by who does not. */
function letIn(usage: Usage): Usage {
  const { stop: _over, quotaBytes, weighed, ...rest } = usage;
  const bytes = weighed?.bytes ?? 0;
  return {
    ...rest,
    quotaBytes,
    ...(weighed ? { weighed } : {}),
    state: bytes >= quotaBytes * OPEN_AT ? "full" : "open",
    markBytes: Math.max(quotaBytes * STOP_AT, bytes + quotaBytes * ROOM_AGAIN),
    windowBytes: 0,
  };
}

/** The condition of a tenant by what it holds: numbers, and what helps. */
export function datastoreFull(usage: Usage | undefined, now: Date): Omit<NewCondition, "observedGeneration"> {
  const type = "DatastoreFull";
  if (!usage) return { type, status: "Unknown", reason: "NotWeighed", message: "what it holds is not known yet" };
  const { state, stop, weighed, quotaBytes } = usage;
  // no figure that changes while all is well: each would be a write of the status
  if (state === "open") return { type, status: "False", reason: "HasRoom", message: `its quota is ${mebibytes(quotaBytes)}` };
  const held = weighed
    ? `it holds ${mebibytes(weighed.bytes)} of ${mebibytes(quotaBytes)} in ${weighed.keys} keys`
    : `its quota is ${mebibytes(quotaBytes)}, and it was not weighed yet`;
  if (state === "full") {
    const message = `${held}: nothing new is created until it holds less than ${mebibytes(quotaBytes * OPEN_AT)} or its quota is raised; delete objects`;
    return { type, status: "True", reason: "Full", message };
  }
  const until = stop ? new Date(Math.max(stop.untilMs, now.getTime())).toISOString() : now.toISOString();
  return {
    type,
    status: "True",
    reason: "Stopped",
    message: `${held}: ${WHY[stop?.reason ?? "bytes"]}; writing is tried again at ${until}`,
  };
}

const WHY: Readonly<Record<StopReason, string>> = {
  bytes: "it went on writing past its quota, so etcd refuses its writes; then delete objects, or have the quota raised now",
  churn: "it overwrites objects faster than its neighbours can bear, so etcd refuses its writes; then end what writes so",
  shard: "its shard has no room and it holds the most, so etcd refuses its writes; then delete objects, or use an etcd of its own",
};

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { type Clock, timestamp } from "../core/clock.ts";
import { isError, reasonOf } from "../core/errors.ts";
import type { Resource } from "../core/resources.ts";
import type { Kube } from "./kube.ts";
import { EVENT, type Event } from "./upstream.ts";

export interface EventRecorder {
  /** Never blocks and never throws: an event is news, not state. Equal ones become one with a count. */
  record(object: Resource, type: "Normal" | "Warning", reason: string, message: string): void;
  /** Resolves when all recorded so far are written or given up. */
  flush(): Promise<void>;
}

/** So many different messages of one reason on one object are kept apart; further ones become one, with a count. */
const KEPT_APART = 10;
const SIMILAR_MS = 600_000;
/** A token bucket per object: one that fails in a loop does not fill etcd. */
const BURST = 100;
const REFILL_MS = 10_000;
const REMEMBERED = 4_096;
const LONGEST_MESSAGE = 1_024;
const TRIES = 3;
const RETRY_MS = 1_000;

interface Series {
  readonly object: Resource;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly first: Date;
  message: string;
  last: Date;
  count: number;
  /** The Event's name once it is written. */
  name?: string;
}

/** Writes core/v1 Events, which `kubectl describe` shows: deduplicated, similar ones merged, rate-limited, in order. */
export function eventRecorder(options: { kube: Kube; component: string; clock: Clock; log: Logger }): EventRecorder {
  const { kube, component, clock, log } = options;
  const known = new Map<string, Series>();
  const similar = new Map<string, { messages: Set<string>; since: number }>();
  const buckets = new Map<string, { tokens: number; at: number }>();
  const due = new Set<Series>();
  let writing: Promise<void> | undefined;

  function record(object: Resource, type: "Normal" | "Warning", reason: string, text: string): void {
    const now = clock.now();
    const group = `${object.metadata.uid ?? object.metadata.name}|${type}|${reason}`;
    const message = text.slice(0, LONGEST_MESSAGE);
    const merged = isOneOfMany(group, message, now);
    const key = merged ? group : `${group}|${message}`;
    const series = known.get(key) ?? { object, type, reason, first: now, message, last: now, count: 0 };
    series.count += 1;
    series.last = now;
    series.message = merged ? `(combined from similar events) ${message}`.slice(0, LONGEST_MESSAGE) : message;
    touch(known, key, series);
    if (!mayWrite(object, now)) return;
    due.add(series);
    writing ??= write();
  }

  function isOneOfMany(group: string, message: string, now: Date): boolean {
    const before = similar.get(group);
    const current = before && now.getTime() - before.since < SIMILAR_MS ? before : { messages: new Set<string>(), since: now.getTime() };
    touch(similar, group, current);
    if (current.messages.has(message)) return false;
    if (current.messages.size >= KEPT_APART) return true;
    current.messages.add(message);
    return false;
  }

  function mayWrite(object: Resource, now: Date): boolean {
    const key = object.metadata.uid ?? object.metadata.name;
    const before = buckets.get(key) ?? { tokens: BURST, at: now.getTime() };
    const refilled = Math.floor((now.getTime() - before.at) / REFILL_MS);
    const tokens = Math.min(BURST, before.tokens + refilled);
    touch(buckets, key, { tokens: Math.max(0, tokens - 1), at: before.at + refilled * REFILL_MS });
    return tokens > 0;
  }

  async function write(): Promise<void> {
    for (let [series] = due; series; [series] = due) {
      due.delete(series);
      await writeOne(series);
    }
    // in the same turn as the last look at what is due: nothing recorded meanwhile is left behind
    writing = undefined;
  }

  async function writeOne(series: Series): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await put(series);
        return;
      } catch (error) {
        if (!isError(error, "IRW_KUBE_UNREACHABLE") || attempt === TRIES) {
          log.debug({ object: series.object.metadata.name, reason: series.reason, error: reasonOf(error) }, "an event is lost");
          return;
        }
        await clock.sleep(RETRY_MS * attempt).catch(() => {});
      }
    }
  }

  async function put(series: Series): Promise<void> {
    const namespace = series.object.metadata.namespace ?? "default";
    if (series.name) {
      const change = { count: series.count, lastTimestamp: timestamp(series.last), message: series.message };
      try {
        await kube.patch(EVENT, series.name, namespace, change);
        return;
      } catch (error) {
        // events expire in the apiserver after hours
        if (!isError(error, "IRW_KUBE_REFUSED") || error.facts.status !== 404) throw error;
      }
    }
    const event = eventOf(series, namespace, component);
    await kube.create(EVENT, event);
    series.name = event.metadata.name;
  }

  return {
    record,
    async flush() {
      while (writing) await writing;
    },
  };
}

function eventOf({ object, type, reason, message, count, first, last }: Series, namespace: string, component: string): Event {
  const { metadata, apiVersion, kind } = object;
  return {
    apiVersion: "v1",
    kind: "Event",
    // an object's name may be as long as an Event's may, which gets 17 letters more
    metadata: { name: `${metadata.name.slice(0, 230)}.${randomBytes(8).toString("hex")}`, namespace },
    involvedObject: {
      apiVersion,
      kind,
      name: metadata.name,
      ...(metadata.namespace ? { namespace: metadata.namespace } : {}),
      ...(metadata.uid ? { uid: metadata.uid } : {}),
      ...(metadata.resourceVersion ? { resourceVersion: metadata.resourceVersion } : {}),
    },
    type,
    reason,
    message,
    count,
    firstTimestamp: timestamp(first),
    lastTimestamp: timestamp(last),
    source: { component },
    reportingComponent: component,
  };
}

/** Puts it last, and forgets what was not touched for longest. */
function touch<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > REMEMBERED && oldest !== undefined) map.delete(oldest);
}

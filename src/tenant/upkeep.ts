import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { Metrics } from "../observe/index.ts";
import type { Etcd, EtcdStatus } from "./etcd.ts";
import type { Write } from "./etcd-watch.ts";
import { HISTORY_PACE, type HistoryPace, windowIsOver } from "./history.ts";
import { crosses, judge, mostBytes, needsWeighing, newUsage, type Usage, withQuota } from "./quota.ts";
import { rangeOf, type Shard } from "./shard.ts";

/** How often, and from what on, a shard is looked after. */
export interface UpkeepPace extends HistoryPace {
  readonly lookMs: number;
  /** Between two looks at the whole etcd. */
  readonly statusMs: number;
  /** A tenant that writes so much within a window is stopped for one. */
  readonly churnBytes: number;
  /** Free bytes that are worth the pause. */
  readonly defragmentBytes: number;
}

export const PACE: UpkeepPace = {
  lookMs: 250,
  statusMs: 5_000,
  ...HISTORY_PACE,
  churnBytes: 512 * 2 ** 20,
  defragmentBytes: 256 * 2 ** 20,
};

export interface UpkeepOptions {
  readonly name: string;
  readonly shard: Shard;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly pace: UpkeepPace;
  onChange(id: string): void;
  /** One shard at a time is defragmented. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
}

/** The one job that looks after a shard: who holds how much, compaction, free pages, alarms. */
export interface Upkeep {
  admitted(id: string, quotaBytes: number): Promise<void>;
  forget(id: string): void;
  usage(id: string): Usage | undefined;
  stop(): Promise<void>;
}

/** Weighing takes at most this part of the time. */
const WEIGHING_SHARE = 0.1;
const AGAIN_MS = 1_000;
/** Of the shard's quota: above it in use, the heaviest tenants are stopped. */
const FULL_AT = 0.85;
const GROWTH = 1 / 64;
/** Of the shard's quota: a file so large is defragmented whatever the pause, since at its quota nobody writes. */
const LARGE_AT = 0.9;
/** Nobody is kept waiting longer for the sake of disk space; how long it takes is learnt from the last time. */
const LONGEST_PAUSE_S = 2;
const FIRST_SECONDS_PER_BYTE = 0.01 / 2 ** 20;
const LEAST_MEASURED_BYTES = 16 * 2 ** 20;
/** A file is made smaller when so much of it is free. */
const FREE_SHARE = 0.5;
const QUIET_MS = 1_000;

/** Begins to look after a shard. Nothing here waits for an answer: what fails is tried again. */
export function keepUp({ name, shard, clock, log, metrics, pace, onChange, inTurn }: UpkeepOptions): Upkeep {
  const usages = new Map<string, Usage>();
  const ending = new AbortController();
  const { signal } = ending;
  /** Writes are seen from this revision on; before that, nobody's weight is known. */
  let watching = false;
  let lastWriteMs = 0;
  let weighAgainMs = 0;
  let status: EtcdStatus | undefined;
  let nextStatusMs = 0;
  /** Whom to stop because the shard has no room, and how much was in use when the last one was stopped for that. */
  let burden: string | undefined;
  let burdenedAt = 0;
  /** What was written in this window and in the one before. */
  let history = { now: 0, before: 0 };
  let compacted = 0;
  let window: { readonly sinceMs: number; readonly revision: number } | undefined;
  let secondsPerByte = FIRST_SECONDS_PER_BYTE;
  const nowMs = () => clock.now().getTime();

  function change(id: string, next: (usage: Usage) => Usage): void {
    const usage = usages.get(id);
    if (usage) usages.set(id, next(usage));
  }

  function seen({ key, bytes, deleted }: Write): void {
    history = { ...history, now: history.now + bytes };
    lastWriteMs = nowMs();
    change(key.slice(1, key.indexOf("/", 1)), (usage) =>
      deleted
        ? { ...usage, sinceDeletes: usage.sinceDeletes + 1 }
        : { ...usage, sinceBytes: usage.sinceBytes + bytes, windowBytes: usage.windowBytes + bytes },
    );
  }

  /** Whatever was written while nobody watched is not known: everybody is weighed anew. */
  function opened(): void {
    watching = true;
    for (const id of usages.keys()) change(id, ({ weighed: _old, ...usage }) => usage);
  }

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      try {
        const etcd = await shard.start(signal);
        await etcd.watchWrites(seen, opened, signal);
      } catch (error) {
        if (!signal.aborted) log.debug({ shard: name, reason: reasonOf(error) }, "the watch over the shard's writes broke");
      }
      watching = false;
      await clock.sleep(AGAIN_MS, signal).catch(() => {});
    }
  }

  async function look(): Promise<void> {
    let etcd: Etcd | undefined;
    while (!signal.aborted) {
      try {
        if (!etcd || nowMs() >= nextStatusMs) {
          etcd = await shard.start(signal);
          await attend(etcd);
        }
        if (watching) await weighOne(etcd);
        await judgeAll();
        await clock.sleep(pace.lookMs, signal);
      } catch (error) {
        etcd = undefined;
        if (signal.aborted) return;
        log.warn({ shard: name, reason: reasonOf(error) }, "looking after the shard failed; it is tried again");
        await clock.sleep(AGAIN_MS, signal).catch(() => {});
      }
    }
  }

  /** One whose weight may matter most: unknown, or nearest to a mark. */
  async function weighOne(etcd: Etcd): Promise<void> {
    const waiting = [...usages].filter(([, usage]) => needsWeighing(usage));
    const crossing = waiting.filter(([, usage]) => crosses(usage));
    // a tenant that crosses a mark does not wait; the others share what is left of our time
    const [id] = crossing[0] ?? (nowMs() >= weighAgainMs ? waiting[0] : undefined) ?? [];
    if (id === undefined) return;
    const before = usages.get(id);
    const began = nowMs();
    change(id, (usage) => ({ ...usage, sinceBytes: 0, sinceDeletes: 0 }));
    try {
      const weighed = await etcd.weigh(rangeOf(id), signal);
      change(id, (usage) => (watching ? { ...usage, weighed } : usage));
    } catch (error) {
      change(id, (usage) => ({ ...usage, sinceBytes: usage.sinceBytes + (before?.sinceBytes ?? 0) }));
      throw error;
    } finally {
      weighAgainMs = nowMs() + (nowMs() - began) / WEIGHING_SHARE;
    }
  }

  async function judgeAll(): Promise<void> {
    const heaviest = burden;
    burden = undefined;
    for (const [id, before] of usages) {
      const after = judge(before, { nowMs: nowMs(), churnBytes: pace.churnBytes, heaviestOfFullShard: id === heaviest });
      if (after === before) continue;
      const [was, is] = [before.state === "stopped", after.state === "stopped"];
      if (was !== is) await shard.setMayWrite(id, !is, signal);
      change(id, (usage) => ({ ...after, sinceBytes: usage.sinceBytes, sinceDeletes: usage.sinceDeletes }));
      if (before.state === after.state) continue;
      if (is) metrics?.datastoreStops.inc({ reason: after.stop?.reason ?? "bytes" });
      log.info({ shard: name, plane: id, from: before.state, to: after.state, bytes: after.weighed?.bytes }, "a tenant's datastore");
      onChange(id);
    }
  }

  function heaviestWriter(): string | undefined {
    const writers = [...usages].filter(([, usage]) => usage.state !== "stopped");
    return writers.sort(([, one], [, other]) => mostBytes(other) + other.windowBytes - mostBytes(one) - one.windowBytes)[0]?.[0];
  }

  async function attend(etcd: Etcd): Promise<void> {
    status = await etcd.status();
    if (status.noSpace) await makeSpace(etcd, status);
    else await compactInTime(etcd, status);
    await relieve(etcd, status);
    await defragmentWhenWorth(etcd, status);
    nextStatusMs = nowMs() + pace.statusMs;
  }

  async function makeSpace(etcd: Etcd, { revision }: EtcdStatus): Promise<void> {
    log.warn({ shard: name }, "the shard has no space and refuses writes; it is compacted and defragmented");
    await compact(etcd, revision, "space");
    await defragment(etcd);
    status = await etcd.status();
    await etcd.disarm();
  }

  /** A shard without room is compacted up to now; where that is not enough, its heaviest tenant is stopped, and another if it still grows. */
  async function relieve(etcd: Etcd, { quota, inUse, revision }: EtcdStatus): Promise<void> {
    if (inUse < quota * FULL_AT) {
      burdenedAt = 0;
      return;
    }
    if (history.now + history.before > 0) {
      await compact(etcd, revision, "space");
      status = await etcd.status();
      if (status.inUse < quota * FULL_AT) return;
    }
    if (inUse < burdenedAt + quota * GROWTH) return;
    burdenedAt = inUse;
    burden = heaviestWriter();
  }

  async function compactInTime(etcd: Etcd, { revision, inUse, quota }: EtcdStatus): Promise<void> {
    window ??= { sinceMs: nowMs(), revision };
    const lately = { ageMs: nowMs() - window.sinceMs, writes: revision - window.revision, bytes: history.now, usedShare: inUse / quota };
    if (history.now + history.before >= pace.historyBytes) {
      await compact(etcd, revision, "history");
    } else if (windowIsOver(lately, pace)) {
      // what the window began with: history is kept for one window at least, and a watcher that slept longer than two lists again
      if (window.revision > compacted) await compact(etcd, window.revision, "window");
      history = { now: 0, before: history.now };
      window = { sinceMs: nowMs(), revision };
      for (const id of usages.keys()) change(id, (usage) => ({ ...usage, windowBytes: 0 }));
    }
  }

  async function compact(etcd: Etcd, revision: number, reason: "window" | "history" | "space"): Promise<void> {
    await etcd.compact(revision);
    compacted = revision;
    metrics?.datastoreCompactions.inc({ shard: name, reason });
    if (reason === "window") return;
    history = { now: 0, before: 0 };
    window = { sinceMs: window?.sinceMs ?? nowMs(), revision };
  }

  async function defragmentWhenWorth(etcd: Etcd, { size, inUse, quota }: EtcdStatus): Promise<void> {
    const free = size - inUse;
    if (free < pace.defragmentBytes || free < size * FREE_SHARE) return;
    // free pages are written to again: a large file is no harm until it is near its quota, and then everybody's writes are
    const isUrgent = size >= quota * LARGE_AT;
    const pauses = inUse * secondsPerByte > LONGEST_PAUSE_S || nowMs() < lastWriteMs + QUIET_MS;
    if (isUrgent || !pauses) await defragment(etcd);
  }

  function defragment(etcd: Etcd): Promise<void> {
    return inTurn(async () => {
      const began = performance.now();
      await etcd.defragment();
      const seconds = (performance.now() - began) / 1000;
      metrics?.datastoreDefragmentationSeconds.observe({ shard: name }, seconds);
      const before = status?.size ?? 0;
      secondsPerByte = seconds / Math.max(status?.inUse ?? 0, LEAST_MEASURED_BYTES);
      status = await etcd.status();
      log.info({ shard: name, before, after: status.size, seconds }, "defragmented");
    });
  }

  function expose(): void {
    if (!metrics) return;
    for (const [what, bytes] of Object.entries({ size: status?.size, in_use: status?.inUse, quota: status?.quota })) {
      if (bytes !== undefined) metrics.datastoreBytes.set({ shard: name, what }, bytes);
    }
    for (const state of ["open", "full", "stopped"]) {
      metrics.datastoreTenants.set({ shard: name, state }, [...usages.values()].filter((usage) => usage.state === state).length);
    }
    for (const [plane, { weighed, quotaBytes }] of usages) {
      metrics.datastoreHeld.set({ plane, what: "quota" }, quotaBytes);
      if (!weighed) continue;
      metrics.datastoreHeld.set({ plane, what: "held" }, weighed.bytes);
      metrics.datastoreKeys.set({ plane }, weighed.keys);
    }
  }

  function unexpose(plane: string): void {
    for (const what of ["quota", "held"]) metrics?.datastoreHeld.remove({ plane, what });
    metrics?.datastoreKeys.remove({ plane });
  }

  const endExposing = metrics?.onScrape(expose);
  const work = Promise.all([watch(), look()]);

  return {
    async admitted(id, quotaBytes) {
      const before = usages.get(id);
      const stopped = before ? before.state === "stopped" : !(await shard.mayWrite(id, signal));
      usages.set(id, withQuota(usages.get(id) ?? newUsage(quotaBytes, stopped, nowMs()), quotaBytes));
    },
    forget(id) {
      usages.delete(id);
      unexpose(id);
    },
    usage: (id) => usages.get(id),
    async stop() {
      ending.abort(new Error("the datastore is closing"));
      await work;
      endExposing?.();
      for (const id of usages.keys()) unexpose(id);
      for (const what of ["size", "in_use", "quota"]) metrics?.datastoreBytes.remove({ shard: name, what });
      for (const state of ["open", "full", "stopped"]) metrics?.datastoreTenants.remove({ shard: name, state });
    },
  };
}

import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { isError, reasonOf } from "../core/errors.ts";

export interface Reconciler {
  start(): void;
  /** Says that something about this key changed. Never blocks; many nudges before a run are one. */
  nudge(key: string): void;
  /** Ends what runs (its signal aborts) and resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}

export interface ReconcilerOptions {
  readonly name: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** Keys worked on at once; one key is never worked on twice at once. */
  readonly concurrency?: number;
  /** So often the keys of the moment are looked at again: a lost nudge delays, it never loses. */
  readonly everyMs?: number;
  keys(): readonly string[];
  /** Takes no input but the key, reads the world again, is idempotent. `afterMs` asks to be called again. */
  reconcile(key: string, signal: AbortSignal): Promise<{ readonly afterMs?: number } | undefined>;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 30_000;
/** Node's timers hold no more: a longer one would end at once, again and again. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A level-triggered loop: runs a key on a nudge and on a timer, one run a key at a time, with back-off on failure. */
export function reconciler(options: ReconcilerOptions): Reconciler {
  const { name, log, clock, concurrency = 8, everyMs = 30_000 } = options;
  const ending = new AbortController();
  const due = new Set<string>();
  const running = new Map<string, Promise<void>>();
  const failures = new Map<string, number>();
  const timers = new Map<string, AbortController>();
  let started = false;

  function nudge(key: string): void {
    if (ending.signal.aborted) return;
    due.add(key);
    fill();
  }

  function fill(): void {
    if (!started || ending.signal.aborted) return;
    for (const key of due) {
      if (running.size >= concurrency) return;
      if (running.has(key)) continue;
      due.delete(key);
      running.set(key, run(key));
    }
  }

  async function run(key: string): Promise<void> {
    timers.get(key)?.abort();
    timers.delete(key);
    try {
      const again = await options.reconcile(key, ending.signal);
      failures.delete(key);
      if (again?.afterMs !== undefined) later(key, again.afterMs);
    } catch (error) {
      if (ending.signal.aborted) return;
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const afterMs = Math.min(FIRST_RETRY_MS * 2 ** (count - 1), LAST_RETRY_MS);
      // a conflict only means that the world moved on: reading it again is the cure, and no news
      if (isError(error, "IRW_KUBE_CONFLICT") && count < 5)
        log.debug({ reconciler: name, key, error: reasonOf(error) }, "changed meanwhile");
      else log.warn({ reconciler: name, key, attempt: count, nextTryMs: afterMs, err: error }, "reconcile failed");
      later(key, afterMs);
    } finally {
      running.delete(key);
      fill();
    }
  }

  function later(key: string, afterMs: number): void {
    timers.get(key)?.abort();
    const timer = new AbortController();
    timers.set(key, timer);
    clock.sleep(Math.min(afterMs, LONGEST_TIMER_MS), AbortSignal.any([timer.signal, ending.signal])).then(
      () => {
        if (timers.get(key) === timer) timers.delete(key);
        nudge(key);
      },
      () => {},
    );
  }

  async function everyNowAndThen(): Promise<void> {
    while (!ending.signal.aborted) {
      const keys = options.keys();
      for (const key of keys) nudge(key);
      forgetAllBut(new Set(keys));
      await clock.sleep(everyMs, ending.signal).catch(() => {});
    }
  }

  function forgetAllBut(keys: ReadonlySet<string>): void {
    for (const key of failures.keys()) if (!keys.has(key) && !timers.has(key)) failures.delete(key);
  }

  return {
    start() {
      if (started) return;
      started = true;
      fill();
      void everyNowAndThen();
    },
    nudge,
    async stop() {
      ending.abort(new Error(`${name} is stopping`));
      await Promise.allSettled(running.values());
    },
  };
}

import type { Clock } from "../core/clock.ts";
import type { Metrics } from "../observe/index.ts";
import { type Attempt, ended, follow, historyOf, isOver, STEPS, type Step, type StepHistory } from "./attempt.ts";
import type { AttemptStore } from "./attempt-store.ts";
import type { BootEvent, Sign, Stage } from "./contract.ts";
import { whyNot } from "./why.ts";

/** What each machine was seen doing: the boot as people tell it. Events are in memory and bounded, attempts are kept. */
export interface Journal {
  add(machine: string, stage: Stage, detail: string, sign?: Sign): void;
  timeline(machine: string): readonly BootEvent[];
  /** Newest last. */
  attempts(machine: string): readonly Attempt[];
  /** How far the boot came and why it went no further. */
  lastSeen(machine: string, since?: Date): string;
  /** Manufacturer and product, for what is usual on such machines. */
  setModel(machine: string, model: string): void;
  history(model: string): readonly StepHistory[];
  forget(machine: string): void;
  /** Ends attempts that nothing more is heard of, and writes what changed; bounded work, to be called often. */
  tick(): void;
  /** Writes all that changed. */
  close(): void;
}

export interface JournalOptions {
  readonly store?: AttemptStore;
  readonly metrics?: Metrics;
}

/** Events kept of each machine. */
const KEPT = 100;
/** Attempts written in one turn: a rack that boots at once must not hold up the answers. */
const WRITTEN_AT_ONCE = 64;
/** Durations kept of each step of each model, and models at all: a name comes from firmware. */
const REMEMBERED = 200;
const MODELS = 500;
const READ_AT_START = 5_000;

export function createJournal(clock: Clock, { store, metrics }: JournalOptions = {}): Journal {
  const events = new Map<string, BootEvent[]>();
  /** The latest attempt of each machine, over or not. */
  const latest = new Map<string, Attempt>();
  const changed = new Map<string, Attempt>();
  const open = new Set<string>();
  const models = new Map<string, string>();
  const durations = new Map<string, Map<Step, number[]>>();

  for (const attempt of store?.latest() ?? []) {
    latest.set(attempt.machine, attempt);
    if (attempt.end === undefined) open.add(attempt.machine);
    if (attempt.model) models.set(attempt.machine, attempt.model);
  }
  for (const attempt of (store?.recent(READ_AT_START) ?? []).reverse()) if (attempt.end !== undefined) learn(attempt);
  metrics?.onScrape(() => metrics.attemptsOpen.set(open.size));

  function learn(attempt: Attempt): void {
    if (!attempt.model || attempt.partial) return;
    const steps = durations.get(attempt.model) ?? new Map<Step, number[]>();
    if (!durations.has(attempt.model) && durations.size >= MODELS) return;
    durations.set(attempt.model, steps);
    for (const { step, seconds } of attempt.steps) {
      const list = steps.get(step) ?? [];
      steps.set(step, list);
      list.push(seconds);
      if (list.length > REMEMBERED) list.shift();
    }
  }

  function keep(attempt: Attempt): void {
    const model = attempt.model ?? models.get(attempt.machine);
    const whole = model === undefined ? attempt : { ...attempt, model };
    changed.set(`${whole.machine} ${whole.number}`, whole);
    if (latest.get(whole.machine)?.number === whole.number) latest.set(whole.machine, whole);
    if (whole.end === undefined) return;
    learn(whole);
    metrics?.attempts.inc({ end: whole.end });
    if (!whole.partial) for (const { step, seconds } of whole.steps) metrics?.stageSeconds.observe({ stage: step }, seconds);
  }

  function write(most: number): void {
    if (!store || changed.size === 0) return;
    const batch = [...changed].slice(0, most);
    store.put(batch.map(([, attempt]) => attempt));
    for (const [key] of batch) changed.delete(key);
  }

  return {
    add(machine, stage, detail, sign) {
      const list = events.get(machine) ?? [];
      events.set(machine, list);
      const at = clock.now().toISOString();
      const last = list.at(-1);
      const again = last && last.stage === stage && last.detail === detail && last.sign?.what === sign?.what;
      const event: BootEvent = { at, stage, detail, ...(sign ? { sign } : {}), ...(again ? { times: (last.times ?? 1) + 1 } : {}) };
      if (again) list.pop();
      list.push(event);
      if (list.length > KEPT) list.shift();

      const known = latest.get(machine);
      const { attempt, before } = follow(known, event, machine, known?.number ?? 0);
      if (before) keep(before.end === "stopped" ? { ...before, why: why(machine, before, attempt) } : before);
      if (attempt === undefined || attempt === known) return;
      latest.set(machine, attempt);
      if (attempt.end === undefined) open.add(machine);
      else open.delete(machine);
      keep(attempt);
    },
    timeline: (machine) => [...(events.get(machine) ?? [])],
    attempts(machine) {
      const rows = new Map((store?.of(machine) ?? []).map((one) => [one.number, one]));
      for (const attempt of changed.values()) if (attempt.machine === machine) rows.set(attempt.number, attempt);
      const last = latest.get(machine);
      if (last) rows.set(last.number, last);
      return [...rows.values()].sort((a, b) => a.number - b.number);
    },
    lastSeen: (machine, since) => whyNot({ events: events.get(machine) ?? [], now: clock.now(), since }),
    setModel: (machine, model) => void models.set(machine, model),
    history(model) {
      const steps = durations.get(model);
      return STEPS.flatMap((step) => {
        const seconds = steps?.get(step);
        return seconds ? [historyOf(step, seconds)] : [];
      });
    },
    forget(machine) {
      for (const map of [events, latest, models]) map.delete(machine);
      open.delete(machine);
      for (const [key, attempt] of changed) if (attempt.machine === machine) changed.delete(key);
      store?.drop(machine);
    },
    tick() {
      const now = clock.now();
      for (const machine of open) {
        const attempt = latest.get(machine);
        if (!attempt || !isOver(attempt, now)) continue;
        open.delete(machine);
        const over = ended(attempt, why(machine, attempt, undefined));
        latest.set(machine, over);
        keep(over);
      }
      write(WRITTEN_AT_ONCE);
    },
    close() {
      write(Number.POSITIVE_INFINITY);
      store?.close();
    },
  };

  /** Why an attempt that stopped did so, judged as of its last event, without what came later. */
  function why(machine: string, attempt: Attempt, next: Attempt | undefined): string {
    const until = next ? Date.parse(next.startedAt) : Number.POSITIVE_INFINITY;
    const own = (events.get(machine) ?? []).filter(({ at }) => Date.parse(at) < until);
    return whyNot({ events: own, now: next ? new Date(next.startedAt) : clock.now(), since: new Date(attempt.startedAt) });
  }
}

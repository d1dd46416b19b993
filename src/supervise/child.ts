import type { ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { type CellMember, entryOf, hasEntered } from "./cell.ts";
import { openDoor } from "./door.ts";
import { type Writing, writeAtomically } from "./files.ts";
import { launch, MARK } from "./launch.ts";
import { hasRoom, tailLog } from "./log-file.ts";
import { isReady } from "./probe.ts";
import { findSession, identify, isAlive, killLeftovers, type ProcessIdentity, signalGroup } from "./process.ts";
import type { ChildRecord } from "./record.ts";
import { isSame } from "./spec.ts";
import type { ChildSpec, ChildStatus, ReadyProbe } from "./supervisor.ts";

export interface Child {
  readonly name: string;
  spec(): ChildSpec;
  status(): ChildStatus;
  /** The process it is now, if it lives. */
  process(): ProcessIdentity | undefined;
  /** Makes it run so; one that rests takes note of it. */
  ensure(spec: ChildSpec): Promise<void>;
  /** `resting`: one that rests goes on resting, ended, when it is ensured again. */
  stop(options?: { readonly resting: boolean }): Promise<void>;
  /** For good: whoever still holds it starts nothing by it. */
  remove(): Promise<void>;
  /** After the supervisor's own start, first: looks for the process that was started and never written down. */
  find(): void;
  /** Then: adopts the process if it still runs, else starts it; one that rests stays at rest. */
  resume(): Promise<void>;
  /** Stopped in place, or ended, until it is roused. */
  rest(how: "frozen" | "stopped"): Promise<void>;
  isResting(): boolean;
  /** Goes on where it was, or is started. */
  rouse(): Promise<void>;
  waitReady(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Looks away: no more restarts; the process runs on. */
  release(): void;
}

interface Surroundings {
  /** Where the record is kept. */
  readonly file: string;
  /** The other children of its cell. */
  readonly siblings: () => readonly CellMember[];
  readonly clock: Clock;
  readonly log: Logger;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 60_000;
/** Of what is in no cell: everybody waits for the host's own. */
const LONGEST_WAIT_OF_OURS_MS = 8_000;
/** It fails at once while there is no room, and is to run soon once there is. */
const FULL_DISK_WAIT_MS = 4_000;
/** For each while that it is ready, half of its ends are forgotten: what runs for a minute each time never waits for long. */
const FORGETS_MS = 30_000;
/** More ends make no longer wait. */
const MOST_ENDS = Math.ceil(Math.log2(LONGEST_WAIT_MS / FIRST_WAIT_MS));
const ADOPTED_POLL_MS = 500;
const PROBE_MS = 100;
/** Somebody waits for one that was frozen. */
const ROUSED_PROBE_MS = 20;
const ENTER_POLL_MS = 10;
const STOP_POLL_MS = 25;
const KILL_TIMEOUT_MS = 10_000;
const LAST_LINES = 10;
/** They are in every answer about it. */
const LAST_LOG_CHARACTERS = 8 * 1024;
const WAITS_TO_ENTER = "it waits for a process of its cell, whose network it joins";

interface Probing {
  readonly readiness?: ReadyProbe | undefined;
  readonly everyMs?: number;
}

/** One process kept running: spawned in a session of its own, probed, restarted with back-off, adopted by the next supervisor. */
export function superviseChild(first: ChildRecord, { file, siblings, clock, log }: Surroundings): Child {
  let record = first;
  let state: ChildStatus["state"] = "stopped";
  let ready = false;
  let removed = false;
  let nextTryAt: Date | undefined;
  /** While it is not started for want of somebody in its cell. */
  let waitsToEnter = false;
  /** The process' handle, where this supervisor started it. */
  let own: ChildProcess | undefined;
  /** Ends with the present run: of the process, or of the wait for the next try. */
  let run = new AbortController();
  /** Calls one after the other: a stop never overtakes a start. */
  const line = turns();
  const waiting = new Set<() => void>();

  function inTurn(call: () => Promise<void>): Promise<void> {
    return line(async () => {
      if (!removed) await call();
    });
  }

  function remember(change: Partial<ChildRecord>, writing: Writing = {}): void {
    record = { ...record, ...change };
    if (removed) return;
    try {
      writeAtomically(file, `${JSON.stringify(record, null, 2)}\n`, writing);
    } catch (error) {
      // a full disk must not end the parent of every control plane
      log.error({ child: record.spec.name, err: error }, "the record of a child could not be written");
    }
  }

  function become(next: ChildStatus["state"], isReadyNow = false): void {
    state = next;
    ready = isReadyNow;
    nextTryAt = undefined;
    for (const look of waiting) look();
  }

  function newRun(): AbortSignal {
    run.abort();
    run = new AbortController();
    waitsToEnter = false;
    return run.signal;
  }

  function start(): void {
    const signal = newRun();
    become("starting");
    const { cell } = record.spec;
    if (cell) void enter(cell.holder, signal);
    else startNow(undefined, signal);
  }

  async function enter(holder: boolean, signal: AbortSignal): Promise<void> {
    for (;;) {
      const entry = entryOf(holder, siblings(), hasEntered);
      waitsToEnter = entry === "wait";
      if (entry !== "wait") return startNow(entry.join, signal);
      await clock.sleep(ENTER_POLL_MS, signal).catch(() => {});
      if (signal.aborted) return;
    }
  }

  function startNow(join: ProcessIdentity | undefined, signal: AbortSignal): void {
    let process: ChildProcess;
    try {
      process = launch(record.spec, file, join);
    } catch (error) {
      ended(`it could not be started: ${reasonOf(error)}`);
      return;
    }
    process.once("error", (error) => {
      if (!signal.aborted && process.pid === undefined) ended(`it could not be started: ${error.message}`);
    });
    const { pid } = process;
    if (pid === undefined) return;
    own = process;
    const startedAt = clock.now().toISOString();
    const identity = identify(pid);
    // already gone: its exit event says why
    if (identity) remember({ process: identity, startedAt });
    watch(pid, signal);
    log.info({ child: record.spec.name, pid }, "started");
    void probe(signal);
  }

  function watch(pid: number, signal: AbortSignal): void {
    if (own?.pid === pid && own.exitCode === null && own.signalCode === null) {
      own.once("exit", (code, by) => {
        if (!signal.aborted) ended(by ? `it was ended by ${by}` : `it ended with exit code ${code}`, pid);
      });
    } else if (record.process) void pollUntilGone(record.process, signal);
  }

  /** @param isRoused it was frozen, and somebody waits for it */
  function adopt(process: ProcessIdentity, isRoused = false): void {
    const signal = newRun();
    // the disk may be busy with the memory that it waits for; a record that a loss of power leaves empty is written anew by the daemon
    remember({ process }, { durable: !isRoused });
    become("starting");
    if (record.spec.cell) {
      // frozen by an earlier supervisor that could not write it down, perhaps
      if (record.spec.cell.holder) openDoor(process);
      signalGroup(process, "SIGCONT");
    }
    void probe(signal, isRoused ? { readiness: record.spec.awake ?? record.spec.ready, everyMs: ROUSED_PROBE_MS } : {});
    watch(process.pid, signal);
  }

  async function pollUntilGone(process: ProcessIdentity, signal: AbortSignal): Promise<void> {
    while (isAlive(process)) {
      await clock.sleep(ADOPTED_POLL_MS, signal).catch(() => {});
      if (signal.aborted) return;
    }
    ended("it ended; it was started by an earlier supervisor, so its exit code is not known", process.pid);
  }

  async function probe(signal: AbortSignal, { readiness = record.spec.ready, everyMs = PROBE_MS }: Probing = {}): Promise<void> {
    const { process } = record;
    const { cell } = record.spec;
    while ((cell && process && !hasEntered(process)) || (readiness && !(await isReady(readiness)))) {
      await clock.sleep(everyMs, signal).catch(() => {});
      if (signal.aborted) return;
    }
    if (signal.aborted) return;
    become("running", true);
    while (record.restarts > 0) {
      await clock.sleep(FORGETS_MS, signal).catch(() => {});
      if (signal.aborted) return;
      remember({ restarts: Math.floor(Math.min(record.restarts, MOST_ENDS) / 2) });
    }
  }

  /** @param group of the process that ended just now, if there was one */
  function ended(how: string, group?: number): void {
    const { spec } = record;
    // its last words are not in a log that had no room for them
    const room = hasRoom(
      spec.logFile,
      usersOf(spec).every((uid) => uid === 0),
    );
    const reason = room ? how : `${how}; the disk of ${spec.logFile} is full`;
    // what it left in its group would hold its ports and files
    if (group !== undefined) killLeftovers(group);
    const signal = newRun();
    const longestMs = room ? (spec.cell ? LONGEST_WAIT_MS : LONGEST_WAIT_OF_OURS_MS) : FULL_DISK_WAIT_MS;
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** record.restarts, longestMs);
    const { process: _gone, ...rest } = record;
    record = rest;
    remember({ restarts: record.restarts + 1, reason, lastLog: tailLog(spec.logFile, LAST_LINES).slice(-LAST_LOG_CHARACTERS) });
    become("backing-off");
    nextTryAt = new Date(clock.now().getTime() + waitMs);
    log.warn({ child: spec.name, reason, restarts: record.restarts, nextTryMs: waitMs }, "ended");
    clock.sleep(waitMs, signal).then(
      () => {
        // a stop may have come while this waited for its turn
        if (!signal.aborted) start();
      },
      () => {},
    );
  }

  async function end(): Promise<void> {
    newRun();
    const process = living();
    if (process) {
      // one that is frozen would have to come back from swap to say good-bye
      const gently = state !== "frozen";
      become("stopping");
      signalGroup(process, gently ? "SIGTERM" : "SIGKILL");
      if (gently) signalGroup(process, "SIGCONT");
      if (!(await gone(process, gently ? (record.spec.stopTimeoutS ?? 10) * 1_000 : KILL_TIMEOUT_MS))) {
        log.warn({ child: record.spec.name, pid: process.pid }, "did not end on SIGTERM");
        signalGroup(process, "SIGKILL");
        if (!(await gone(process, KILL_TIMEOUT_MS))) throw new Error(`process ${process.pid} of ${record.spec.name} does not end`);
      }
      killLeftovers(process.pid);
      log.info({ child: record.spec.name, pid: process.pid }, "stopped");
    }
    const { process: _gone, reason: _old, ...rest } = record;
    record = rest;
    become("stopped");
  }

  function living(): ProcessIdentity | undefined {
    return record.process && isAlive(record.process) ? record.process : undefined;
  }

  function forgetProcess(): void {
    const { process: _gone, ...rest } = record;
    record = rest;
  }

  function lieDown(how: "frozen" | "stopped", process: ProcessIdentity | undefined): void {
    newRun();
    remember({ rest: how });
    if (how === "frozen" && process) {
      signalGroup(process, "SIGSTOP");
      become("frozen");
    } else {
      forgetProcess();
      become("stopped");
    }
  }

  /** Written down with the process that goes on, or the new one. */
  function standUp(): void {
    const { rest: _over, ...up } = record;
    // how often it ended before it slept is no reason to let whoever woke it wait
    record = { ...up, wanted: "running", restarts: 0 };
  }

  async function gone(process: ProcessIdentity, timeoutMs: number): Promise<boolean> {
    const until = clock.now().getTime() + timeoutMs;
    while (isAlive(process)) {
      if (clock.now().getTime() > until) return false;
      await clock.sleep(STOP_POLL_MS);
    }
    return true;
  }

  return {
    name: first.spec.name,

    spec: () => record.spec,
    process: living,

    status() {
      const { spec, process, startedAt, restarts, lastLog } = record;
      const died = state === "frozen" && !living();
      const reason = died ? "it was ended while it was frozen" : waitsToEnter ? WAITS_TO_ENTER : record.reason;
      return {
        name: spec.name,
        state: died ? "stopped" : state,
        ready,
        restarts,
        logFile: spec.logFile,
        ...(process && !died ? { pid: process.pid } : {}),
        ...(process && startedAt ? { startedAt } : {}),
        ...(reason ? { reason } : {}),
        ...(lastLog ? { lastLog } : {}),
        ...(nextTryAt ? { nextTryAt: nextTryAt.toISOString() } : {}),
      };
    },

    ensure: (spec) =>
      inTurn(async () => {
        const same = isSame(spec, record.spec);
        if (record.rest) {
          if (!same) await end();
          // what is frozen by an older specification never goes on
          remember({ spec, wanted: "running", restarts: 0, ...(same ? {} : { rest: "stopped" }) });
          return;
        }
        if (record.wanted === "running" && state !== "stopped" && same) {
          if (!isDeepStrictEqual(spec, record.spec)) remember({ spec });
          return;
        }
        await end();
        remember({ spec, wanted: "running", restarts: 0 });
        start();
      }),

    stop: ({ resting } = { resting: false }) =>
      inTurn(async () => {
        remember({ wanted: "stopped" });
        await end();
        const { rest, ...without } = record;
        record = without;
        remember(resting && rest ? { rest: "stopped" } : {});
      }),

    remove: () =>
      inTurn(async () => {
        remember({ wanted: "stopped" });
        await end();
        removed = true;
        rmSync(file, { force: true });
      }),

    find() {
      if (living()) return;
      const found = findSession(MARK, file, usersOf(record.spec));
      // what it names is gone, since the last start of the system perhaps: its number is anybody's
      forgetProcess();
      if (found) record = { ...record, process: found };
    },

    resume: () =>
      inTurn(async () => {
        const process = living();
        if (record.wanted === "stopped" || record.rest === "stopped") return end();
        if (record.rest) return lieDown(record.rest, process);
        if (!process) return start();
        log.info({ child: record.spec.name, pid: process.pid }, "adopted");
        adopt(process);
      }),

    rest: (how) =>
      inTurn(async () => {
        if (how === "frozen") return lieDown(how, living());
        remember({ rest: how });
        await end();
        remember({});
      }),

    isResting: () => record.rest !== undefined,

    rouse: () =>
      inTurn(async () => {
        if (!record.rest) return;
        const process = living();
        standUp();
        if (process) adopt(process, true);
        else start();
      }),

    async waitReady(timeoutMs, signal) {
      const limit = new AbortController();
      const look = () => {
        if (ready || state === "stopped") limit.abort();
      };
      waiting.add(look);
      try {
        look();
        await clock.sleep(timeoutMs, AbortSignal.any([limit.signal, signal])).catch(() => {});
      } finally {
        waiting.delete(look);
      }
      signal.throwIfAborted();
      if (ready) return;
      const { name, logFile } = record.spec;
      const facts = [
        ...(record.reason ? [record.reason] : []),
        ...(state === "stopped" ? ["it is stopped"] : []),
        ...(waitsToEnter ? [WAITS_TO_ENTER] : []),
        tailLog(logFile, 20),
      ];
      throw new IronwrightError("IRW_CHILD_NOT_READY", { child: name, after: `${Math.round(timeoutMs / 1_000)} s`, log: facts.join("\n") });
    },

    release: () => {
      run.abort();
    },
  };
}

/** Whom it runs as: at first as the supervisor, where it becomes another by itself. */
function usersOf({ uid, cell }: ChildSpec): readonly number[] {
  return [process.getuid?.() ?? 0, ...(cell ? [cell.uid] : []), ...(uid === undefined ? [] : [uid])];
}

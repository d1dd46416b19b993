import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, rmSync } from "node:fs";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { writeAtomically } from "./files.ts";
import { openLog, tailLog } from "./log-file.ts";
import { isReady } from "./probe.ts";
import { findSession, identify, isAlive, type ProcessIdentity, signalGroup } from "./process.ts";
import { isSame } from "./spec.ts";
import type { ChildSpec, ChildStatus } from "./supervisor.ts";

/** What is kept of a child on disk, so that the next supervisor finds it. */
export interface ChildRecord {
  readonly spec: ChildSpec;
  readonly wanted: "running" | "stopped";
  readonly process?: ProcessIdentity;
  readonly startedAt?: string;
  readonly restarts: number;
  readonly reason?: string;
  readonly lastLog?: string;
}

export interface Child {
  readonly name: string;
  status(): ChildStatus;
  ensure(spec: ChildSpec): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
  /** After the supervisor's own start: adopts the process if it still runs, else starts it. */
  resume(): Promise<void>;
  waitReady(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Looks away: no more restarts; the process runs on. */
  release(): void;
}

interface Surroundings {
  /** Where the record is kept. */
  readonly file: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 60_000;
/** Ready for so long, it is healthy again: the next end is the first. */
const HEALTHY_MS = 60_000;
const ADOPTED_POLL_MS = 500;
const PROBE_MS = 100;
const STOP_POLL_MS = 25;
const KILL_TIMEOUT_MS = 10_000;
const LAST_LINES = 10;

/** In each child's environment: the file of its record. */
const MARK = "IRONWRIGHT_CHILD";

/** One process kept running: spawned in a session of its own, probed, restarted with back-off, adopted by the next supervisor. */
export function superviseChild(first: ChildRecord, { file, clock, log }: Surroundings): Child {
  let record = first;
  let state: ChildStatus["state"] = "stopped";
  let ready = false;
  let nextTryAt: Date | undefined;
  /** Ends with the present run: of the process, or of the wait for the next try. */
  let run = new AbortController();
  /** Calls one after the other: a stop never overtakes a start. */
  let line: Promise<void> = Promise.resolve();
  const waiting = new Set<() => void>();

  function inTurn(call: () => Promise<void>): Promise<void> {
    const mine = line.then(call);
    line = mine.catch(() => {});
    return mine;
  }

  function remember(change: Partial<ChildRecord>): void {
    record = { ...record, ...change };
    try {
      writeAtomically(file, `${JSON.stringify(record, null, 2)}\n`);
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
    return run.signal;
  }

  function start(): void {
    const signal = newRun();
    become("starting");
    let process: ChildProcess;
    try {
      process = launch(record.spec, file);
    } catch (error) {
      ended(`it could not be started: ${reasonOf(error)}`);
      return;
    }
    process.once("error", (error) => {
      if (!signal.aborted && process.pid === undefined) ended(`it could not be started: ${error.message}`);
    });
    const { pid } = process;
    if (pid === undefined) return;
    const startedAt = clock.now().toISOString();
    process.once("exit", (code, by) => {
      if (!signal.aborted) ended(by ? `it was ended by ${by}` : `it ended with exit code ${code}`, pid);
    });
    const identity = identify(pid);
    // already gone: its exit event says why
    if (identity) remember({ process: identity, startedAt });
    log.info({ child: record.spec.name, pid }, "started");
    void probe(signal);
  }

  function adopt(process: ProcessIdentity): void {
    const signal = newRun();
    remember({ process });
    become("starting");
    log.info({ child: record.spec.name, pid: process.pid }, "adopted");
    void probe(signal);
    void pollUntilGone(process, signal);
  }

  async function pollUntilGone(process: ProcessIdentity, signal: AbortSignal): Promise<void> {
    while (isAlive(process)) {
      await clock.sleep(ADOPTED_POLL_MS, signal).catch(() => {});
      if (signal.aborted) return;
    }
    ended("it ended; it was started by an earlier supervisor, so its exit code is not known", process.pid);
  }

  async function probe(signal: AbortSignal): Promise<void> {
    const { ready: readiness } = record.spec;
    while (readiness && !(await isReady(readiness))) {
      await clock.sleep(PROBE_MS, signal).catch(() => {});
      if (signal.aborted) return;
    }
    if (signal.aborted) return;
    become("running", true);
    await clock.sleep(HEALTHY_MS, signal).catch(() => {});
    if (!signal.aborted && record.restarts > 0) remember({ restarts: 0 });
  }

  /** @param group of the process that ended just now, if there was one */
  function ended(reason: string, group?: number): void {
    const { spec } = record;
    // what it left in its group would hold its ports and files
    if (group !== undefined) killLeftovers(group);
    const signal = newRun();
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** record.restarts, LONGEST_WAIT_MS);
    const { process: _gone, ...rest } = record;
    record = rest;
    remember({ restarts: record.restarts + 1, reason, lastLog: tailLog(spec.logFile, LAST_LINES) });
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
    const { process, spec } = record;
    if (process && isAlive(process)) {
      become("stopping");
      signalGroup(process, "SIGTERM");
      if (!(await gone(process, (spec.stopTimeoutS ?? 10) * 1_000))) {
        log.warn({ child: spec.name, pid: process.pid }, "did not end on SIGTERM");
        signalGroup(process, "SIGKILL");
        if (!(await gone(process, KILL_TIMEOUT_MS))) throw new Error(`process ${process.pid} of ${spec.name} does not end`);
      }
      killLeftovers(process.pid);
      log.info({ child: spec.name, pid: process.pid }, "stopped");
    }
    const { process: _gone, reason: _old, ...rest } = record;
    record = rest;
    become("stopped");
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

    status() {
      const { spec, process, startedAt, restarts, reason, lastLog } = record;
      return {
        name: spec.name,
        state,
        ready,
        restarts,
        logFile: spec.logFile,
        ...(process ? { pid: process.pid } : {}),
        ...(process && startedAt ? { startedAt } : {}),
        ...(reason ? { reason } : {}),
        ...(lastLog ? { lastLog } : {}),
        ...(nextTryAt ? { nextTryAt: nextTryAt.toISOString() } : {}),
      };
    },

    ensure: (spec) =>
      inTurn(async () => {
        if (record.wanted === "running" && state !== "stopped" && isSame(spec, record.spec)) return;
        await end();
        remember({ spec, wanted: "running", restarts: 0 });
        start();
      }),

    stop: () =>
      inTurn(async () => {
        remember({ wanted: "stopped" });
        await end();
        remember({});
      }),

    remove: () =>
      inTurn(async () => {
        remember({ wanted: "stopped" });
        await end();
        rmSync(file, { force: true });
      }),

    resume: () =>
      inTurn(async () => {
        if (record.wanted === "stopped") return end();
        const process = record.process && isAlive(record.process) ? record.process : findSession(MARK, file);
        if (process) return adopt(process);
        // what it names is gone, since the last start of the system perhaps: its number is anybody's
        const { process: _gone, ...rest } = record;
        record = rest;
        start();
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
      const facts = [...(record.reason ? [record.reason] : []), ...(state === "stopped" ? ["it is stopped"] : []), tailLog(logFile, 20)];
      throw new IronwrightError("IRW_CHILD_NOT_READY", { child: name, after: `${Math.round(timeoutMs / 1_000)} s`, log: facts.join("\n") });
    },

    release: () => {
      run.abort();
    },
  };
}

function launch(spec: ChildSpec, mark: string): ChildProcess {
  const [program = "", ...args] = spec.command;
  const output = openLog(spec.logFile);
  try {
    const process = spawn(program, args, {
      detached: true,
      stdio: ["ignore", output, output],
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: spec.cwd ?? "/", ...spec.env, [MARK]: mark },
      cwd: spec.cwd ?? "/",
      ...(spec.argv0 ? { argv0: spec.argv0 } : {}),
      ...(spec.uid === undefined ? {} : { uid: spec.uid, gid: spec.gid ?? spec.uid }),
    });
    process.unref();
    return process;
  } finally {
    closeSync(output);
  }
}

/** A group keeps its number reserved while it has members: where a process has that number again, it is a stranger's. */
function killLeftovers(group: number): void {
  if (identify(group)) return;
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // nobody is left in it
  }
}

import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Child } from "./child.ts";
import { shutDoor } from "./door.ts";
import { runNative } from "./native.ts";
import { isReady } from "./probe.ts";
import { isAlive, type ProcessIdentity } from "./process.ts";
import type { CellPlace, CellState, CellStatus, CellUsage, Slept, Woken } from "./supervisor.ts";

/** Cells put to sleep and woken, as a whole. */
export interface Cells {
  list(): Promise<readonly CellStatus[]>;
  states(): readonly CellState[];
  status(name: string): Promise<CellStatus | undefined>;
  freeze(name: string): Promise<Slept>;
  stop(name: string): Promise<Slept>;
  /** @param thawMs how long what was frozen may take to answer before it is started anew */
  wake(name: string, thawMs?: number): Promise<Woken>;
  /** Removes its cgroup, once no process is in it. */
  removeGroup(place: CellPlace): Promise<void>;
}

/** A frozen cell that has not answered by then is started anew. */
const THAW_TIMEOUT_MS = 15_000;
const START_TIMEOUT_MS = 60_000;
const AWAKE_POLL_MS = 20;
/** Pages that are written out take a little more room than they had. */
const ROOM_TO_SPARE = 1.1;

/** @param children all there are, in the order in which they were made */
export function cellKeeper(children: () => Iterable<Child>, { clock, log }: { readonly clock: Clock; readonly log: Logger }): Cells {
  /** One thing at a time a cell. */
  const lines = new Map<string, Promise<unknown>>();
  const waking = new Map<string, Promise<Woken>>();

  function inTurn<T>(name: string, call: () => Promise<T>): Promise<T> {
    const mine = (lines.get(name) ?? Promise.resolve()).then(call);
    const settled = mine.catch(() => {});
    lines.set(name, settled);
    void settled.then(() => {
      if (lines.get(name) === settled) lines.delete(name);
    });
    return mine;
  }

  function membersOf(name: string): readonly Child[] {
    return [...children()].filter((child) => child.spec().cell?.name === name);
  }

  function known(name: string): { readonly members: readonly Child[]; readonly place: CellPlace } {
    const members = membersOf(name);
    const place = members[0]?.spec().cell;
    if (!place) throw new IronwrightError("IRW_CELL", { cell: name, problem: "there is no such cell" });
    return { members, place };
  }

  async function statusOf(name: string, members: readonly Child[], place: CellPlace): Promise<CellStatus> {
    return { ...lookAt(name, members), ...(await usageOf(members, place)) };
  }

  async function freezeNow(name: string): Promise<Slept> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    if (stateOf(members) !== "frozen") {
      const held = members.reduce((sum, child) => sum + memoryOf(child.process(), "RssAnon"), 0);
      const reason = noRoomFor(held, readFileSync("/proc/meminfo", "utf8"));
      if (reason !== undefined) return stopNow(name, reason);
      const { doors, others } = parted(members);
      await Promise.all(others.map((child) => child.rest("frozen")));
      for (const door of doors) {
        const process = door.process();
        if (process && !(await shutDoor(process, clock))) {
          await Promise.all(others.map((child) => child.rouse()));
          throw new IronwrightError("IRW_CELL", { cell: name, problem: "its door does not let go of etcd; it stays awake" });
        }
        await door.rest("frozen");
      }
    }
    const processes = members.flatMap((child) => child.process() ?? []);
    if (processes.length > 0) await runNative(place.native, ["page", "out", ...processes.map(ticketOf)]);
    await runNative(place.native, ["cgroup", "reclaim", name]);
    const slept: Slept = { state: "frozen", ...(await usageOf(members, place)), ms: clock.now().getTime() - began };
    log.info({ cell: name, ...slept }, "frozen");
    return slept;
  }

  async function stopNow(name: string, reason?: string): Promise<Slept> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    const { doors, others } = parted(members);
    await Promise.all(others.map((child) => child.rest("stopped")));
    for (const door of doors) await door.rest("stopped");
    const ms = clock.now().getTime() - began;
    log.info({ cell: name, reason, ms }, "stopped");
    return { state: "stopped", ...(reason === undefined ? {} : { reason }), ...(await usageOf(members, place)), ms };
  }

  async function wakeNow(name: string, thawMs: number): Promise<Woken> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    const frozen = members.filter((child) => child.status().state === "frozen");
    const from = frozen.length > 0 ? "frozen" : members.some((child) => child.isResting()) ? "stopped" : "awake";
    const took = () => clock.now().getTime() - began;
    let reason: string | undefined;
    try {
      if (frozen.length > 0) await prefetch(place, frozen);
      await rouse(members, from === "frozen" ? thawMs : START_TIMEOUT_MS);
      log.info({ cell: name, from, ms: took() }, "awake");
      return { from, cold: false, ms: took() };
    } catch (error) {
      reason = reasonOf(error);
      if (from !== "frozen") throw new IronwrightError("IRW_CELL", { cell: name, problem: `it does not wake: ${reason}` }, error);
    }
    log.warn({ cell: name, reason, ms: took() }, "what was frozen does not answer; it is started anew");
    // all of it, before the first one starts: the door's network goes with the last of them
    await Promise.all(members.map((child) => child.rest("stopped")));
    await rouse(members, START_TIMEOUT_MS).catch((error: unknown) => {
      throw new IronwrightError("IRW_CELL", { cell: name, problem: `it does not wake: ${reasonOf(error)}` }, error);
    });
    return { from, cold: true, reason, ms: took() };
  }

  /** In vain where it is in memory still, or cannot be: it comes back page by page then. */
  async function prefetch({ native, name }: CellPlace, frozen: readonly Child[]): Promise<void> {
    await runNative(native, ["page", "in", ...frozen.flatMap((child) => child.process() ?? []).map(ticketOf)]).catch((error: unknown) =>
      log.warn({ cell: name, reason: reasonOf(error) }, "its memory is not brought back ahead of need"),
    );
  }

  /** The door, those that others wait for, the others. @throws what did not become ready, or an awake probe that does not pass */
  async function rouse(members: readonly Child[], timeoutMs: number): Promise<void> {
    const until = clock.now().getTime() + timeoutMs;
    const limit = AbortSignal.timeout(timeoutMs);
    const ready = (child: Child) => child.waitReady(Math.max(0, until - clock.now().getTime()), new AbortController().signal);
    const { doors, others } = parted(members);
    for (const door of doors) await door.rouse();
    const asked = others.filter((child) => child.spec().ready !== undefined);
    const ofThem = others.filter((child) => child.spec().ready === undefined);
    await Promise.all(asked.map((child) => child.rouse()));
    // what goes on where it was has its connections; what starts gives up for seconds where nobody answers
    await Promise.all(ofThem.filter((child) => child.process()).map((child) => child.rouse()));
    await Promise.all([...doors, ...asked].map(ready));
    await Promise.all(ofThem.map((child) => child.rouse()));
    await Promise.all(ofThem.map(ready));
    for (const { name, awake } of members.map((child) => child.spec()).filter((spec) => spec.awake)) {
      while (awake && !(await isReady(awake))) {
        if (limit.aborted) throw new Error(`${name} does not answer a call`);
        await clock.sleep(AWAKE_POLL_MS);
      }
    }
  }

  function wake(name: string, thawMs = THAW_TIMEOUT_MS): Promise<Woken> {
    const already = waking.get(name);
    if (already) return already;
    const mine = inTurn(name, () => wakeNow(name, thawMs)).finally(() => waking.delete(name));
    waking.set(name, mine);
    return mine;
  }

  function names(): readonly string[] {
    return [...new Set([...children()].flatMap((child) => child.spec().cell?.name ?? []))];
  }

  function lookAt(name: string, members: readonly Child[]): CellState {
    return { name, state: stateOf(members), children: members.map((child) => child.status()) };
  }

  return {
    states: () => names().map((name) => lookAt(name, membersOf(name))),
    async list() {
      const all = await Promise.all(names().map((name) => this.status(name)));
      return all.filter((one) => one !== undefined);
    },
    async status(name) {
      const members = membersOf(name);
      const place = members[0]?.spec().cell;
      return place && statusOf(name, members, place);
    },
    freeze: (name) => inTurn(name, () => freezeNow(name)),
    stop: (name) => inTurn(name, () => stopNow(name)),
    wake,
    removeGroup: ({ name, native }) => inTurn(name, async () => void (await runNative(native, ["cgroup", "remove", name]))),
  };
}

function stateOf(members: readonly Child[]): CellStatus["state"] {
  const resting = members.filter((child) => child.isResting());
  if (resting.length === 0) return members.every((child) => child.status().ready) ? "awake" : "mixed";
  if (resting.length < members.length) return "mixed";
  return members.some((child) => child.status().state === "frozen") ? "frozen" : "stopped";
}

function parted(members: readonly Child[]): { readonly doors: readonly Child[]; readonly others: readonly Child[] } {
  const isDoor = (child: Child) => child.spec().cell?.holder === true;
  return { doors: members.filter(isDoor), others: members.filter((child) => !isDoor(child)) };
}

function ticketOf({ pid, startTicks }: ProcessIdentity): string {
  return `${pid}:${startTicks}`;
}

/** Why so many bytes cannot be frozen, or undefined when there is room for them. */
export function noRoomFor(held: number, meminfo: string): string | undefined {
  if (kibibytes(meminfo, "SwapTotal") === 0) return "there is no swap";
  const free = kibibytes(meminfo, "SwapFree") * 1024;
  if (held * ROOM_TO_SPARE <= free) return undefined;
  return `it holds ${mebibytes(held)} MiB, and swap has room for ${mebibytes(free)} MiB`;
}

async function usageOf(members: readonly Child[], { name, native }: CellPlace): Promise<CellUsage> {
  const sum = (field: string) => members.reduce((total, child) => total + memoryOf(child.process(), field), 0);
  // a cell that never ran has no group yet
  const text = await runNative(native, ["cgroup", "usage", name]).catch(() => "{}");
  const { memoryBytes = 0, cpuMicros = 0 } = JSON.parse(text) as { memoryBytes?: number; cpuMicros?: number };
  return {
    residentBytes: sum("RssAnon") + sum("RssShmem"),
    swappedBytes: sum("VmSwap"),
    chargedBytes: memoryBytes,
    cpuSeconds: cpuMicros / 1e6,
  };
}

function memoryOf(process: ProcessIdentity | undefined, field: string): number {
  if (!process) return 0;
  try {
    const status = readFileSync(`/proc/${process.pid}/status`, "utf8");
    return isAlive(process) ? kibibytes(status, field) * 1024 : 0;
  } catch {
    return 0;
  }
}

/** A field of /proc/meminfo or /proc/PID/status. */
function kibibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

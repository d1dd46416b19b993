import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import { orAborted } from "../core/aborted.ts";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import type { Child } from "./child.ts";
import { openDoor, shutDoor } from "./door.ts";
import { cellMemory } from "./memory.ts";
import { runNative } from "./native.ts";
import { isReady } from "./probe.ts";
import type { ProcessIdentity } from "./process.ts";
import type { CellPlace, CellState, CellStatus, CellUsage, ChildSpec, Slept, SwapStatus, Woken } from "./supervisor.ts";
import type { Swap } from "./swap.ts";
import { type Counted, countsOf, kibibytes, memoryOf, recentCounts, usageOf } from "./usage.ts";

/** Cells put to sleep and woken, as a whole. */
export interface Cells {
  list(): Promise<readonly CellStatus[]>;
  states(): readonly CellState[];
  status(name: string): Promise<CellStatus | undefined>;
  /** @param encrypted into swap of ours alone, that is not in clear */
  freeze(name: string, encrypted: boolean): Promise<Slept>;
  stop(name: string): Promise<Slept>;
  /**
   * Resolves when it answers; what nobody waits for goes on a moment later.
   * @param thawMs how long what was frozen may take to answer before it is started anew
   */
  wake(name: string, thawMs?: number): Promise<Woken>;
  /** In the cell's turn, nobody else waking it or putting it to sleep meanwhile; what is under way is cut short. */
  alone(name: string, call: () => Promise<void>): Promise<void>;
  /** Ends who is left in its cgroup, and removes it. When nobody else does anything with the cell. */
  removeGroup(place: CellPlace): Promise<void>;
  /** After the supervisor's own start: pushes out the memory of those whose turn had not come. */
  resume(): void;
  /** No more memory goes out and nothing more goes on, so that the supervisor can end: the next one resumes. */
  letGo(): Promise<void>;
  /** From now on cells are only removed: the supervisor is shutting down. */
  close(): void;
}

/** A frozen cell that has not answered by then is started anew. */
const THAW_TIMEOUT_MS = 15_000;
const START_TIMEOUT_MS = 60_000;
const AWAKE_POLL_MS = 20;
/** Of a frozen process: more than that in memory was not pushed out. */
const LEFT_BYTES = 8 * 2 ** 20;
/** Nothing but a signal, where nobody is asked whether it is ready. */
const LEAST_READY_MS = 1_000;
/** Pages that are written out take a little more room than they had. */
const ROOM_TO_SPARE = 1.1;

export interface CellSurroundings {
  /** Where it is noted which of its memory a sleeper needs to answer. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ours. */
  readonly swap: Pick<Swap, "status">;
}

/** @param children all there are, in the order in which they were made */
export function cellKeeper(children: () => Iterable<Child>, { dir, clock, log, swap }: CellSurroundings): Cells {
  /** One thing at a time a cell. */
  const lines = new Map<string, Promise<unknown>>();
  const waking = new Map<string, Promise<Woken>>();
  /** Cuts short what a cell does just now. */
  const doing = new Map<string, AbortController>();
  /** Bytes on their way into swap, by cell. */
  const leaving = new Map<string, number>();
  const memory = cellMemory({ dir, clock, log });
  /** One cell at a time is roused to learn what it needs. */
  const onStage = turns();
  /** What is to end needs not be out of memory first. */
  const stopping = new Set<string>();
  const lettingGo = new AbortController();
  /** Those whose memory went out to the last: what of it is there when they have answered, they needed for that. */
  const out = new Set<string>();
  /** What goes on after its cell has answered. */
  const goingOn = new Set<Promise<void>>();
  let closed = false;

  function inTurn<T>(name: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const mine = (lines.get(name) ?? Promise.resolve()).then(async () => {
      const cut = new AbortController();
      doing.set(name, cut);
      try {
        return await call(cut.signal);
      } finally {
        doing.delete(name);
      }
    });
    const settled = mine.catch(() => {});
    lines.set(name, settled);
    void settled.then(() => {
      if (lines.get(name) === settled) lines.delete(name);
    });
    return mine;
  }

  /** Like {@link inTurn}, while cells sleep and wake. */
  function whileOpen<T>(name: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return inTurn(name, (signal) => {
      if (closed) throw new IronwrightError("IRW_CELL", { cell: name, problem: "the supervisor is shutting down" });
      return call(signal);
    });
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

  const recent = recentCounts(clock);

  function statusOf(name: string, counted: Counted | undefined): CellStatus {
    const members = membersOf(name);
    return { ...lookAt(name, members), ...usageOf(processesOf(members), counted) };
  }

  async function usageNow(members: readonly Child[], place: CellPlace): Promise<CellUsage> {
    return usageOf(processesOf(members), (await countsOf([place]))[place.name]);
  }

  /**
   * @param woken aborts when somebody waits for the cell: it is asleep then, and most of it still in memory
   * @param learns whether it may be roused once, where it is not known what it needs to answer
   */
  async function freezeNow(name: string, woken: AbortSignal, encrypted: boolean, learns: boolean): Promise<Slept> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    const isFrozen = stateOf(members) === "frozen";
    if (encrypted || !isFrozen) {
      const held = processesOf(members).reduce((sum, process) => sum + memoryOf(process, "RssAnon"), 0);
      const reason = await noRoomNow(name, held, encrypted);
      if (reason !== undefined) return stopNow(name, reason);
    }
    const running = isFrozen ? undefined : await layDown(place, members);
    if (running !== undefined) return stopNow(name, running);
    const cut = AbortSignal.any([woken, lettingGo.signal]);
    const unlessCut = (work: Promise<void>) =>
      orAborted(work, cut).catch((error: unknown) => {
        if (!cut.aborted) throw error;
      });
    await unlessCut(memory.pushOut(place, processesOf(members), cut));
    if (learns && !cut.aborted) {
      const learned = await learn(place, members, cut);
      if (learned.running !== undefined) return stopNow(name, learned.running);
      if (learned.known && !cut.aborted) await unlessCut(memory.pushOutAnew(place, processesOf(members), cut));
    }
    if (!cut.aborted) out.add(name);
    const slept: Slept = { state: "frozen", ...(await usageNow(members, place)), ms: clock.now().getTime() - began };
    log.info({ cell: name, ...slept }, "frozen");
    return slept;
  }

  /** @returns why somebody of it runs on, when that is so */
  async function layDown({ name, native }: CellPlace, members: readonly Child[]): Promise<string | undefined> {
    const { doors, others } = parted(members);
    await Promise.all(others.map((child) => child.rest("frozen")));
    for (const door of doors) {
      const process = door.process();
      if (process && !(await shutDoor(process, clock))) {
        openDoor(process);
        await Promise.all(others.map((child) => child.rouse()));
        throw new IronwrightError("IRW_CELL", { cell: name, problem: "its door does not let go of etcd; it stays awake" });
      }
      await door.rest("frozen");
    }
    // who left his parent's session was not reached by its signals
    return runNative(native, ["cgroup", "stop", name]).then(() => undefined, reasonOf);
  }

  /**
   * Rouses those that callers would wait for, before anybody calls: what comes back until they answer is what they need. One cell at a
   * time. Who is woken meanwhile goes on from there; else they lie down again.
   * @returns whether something is known now that was not, and why somebody of it runs on, when that is so
   */
  async function learn(
    place: CellPlace,
    members: readonly Child[],
    cut: AbortSignal,
  ): Promise<{ readonly known: boolean; readonly running?: string | undefined }> {
    const first = [...members.filter(isDoor), ...members.filter(isAsked)];
    const roused = processesOf(frozenOf(first));
    if (!members.some(isAsked) || roused.length < first.length || memory.isNoted(place.name, roused)) return { known: false };
    const turn = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    void onStage(() => {
      turn.resolve();
      return over.promise;
    });
    const lying = (async () => {
      try {
        await orAborted(turn.promise, cut);
        for (const child of first) await child.rouse();
        await Promise.all(first.map((child) => child.waitReady(THAW_TIMEOUT_MS, cut)));
        await memory.note(place, roused, cut);
      } catch (error) {
        if (!cut.aborted) log.warn({ cell: place.name, reason: reasonOf(error) }, "what it needs to answer is not known yet");
      } finally {
        over.resolve();
      }
      const isUp = frozenOf(first).length < first.length;
      return isUp && !waking.has(place.name) ? await layDown(place, members) : undefined;
    })();
    // the supervisor does not end in between
    const settled = lying.then(
      () => {},
      () => {},
    );
    goingOn.add(settled);
    const running = await lying.finally(() => goingOn.delete(settled));
    return { known: memory.isNoted(place.name, roused), running };
  }

  async function noRoomNow(name: string, held: number, encrypted: boolean): Promise<string | undefined> {
    const others = [...leaving.values()].reduce((sum, bytes) => sum + bytes, 0);
    // before it is looked at: who comes meanwhile counts this one, and who is out by then is counted there
    leaving.set(name, held);
    return encrypted ? noRoomInOurs(held, others, await swap.status()) : noRoomFor(held, others, readFileSync("/proc/meminfo", "utf8"));
  }

  /** Ends its children, and whatever else they left in it. */
  async function endAll({ name, native }: CellPlace, members: readonly Child[]): Promise<void> {
    const { doors, others } = parted(members);
    await Promise.all(others.map((child) => child.rest("stopped")));
    for (const door of doors) await door.rest("stopped");
    await runNative(native, ["cgroup", "kill", name]);
  }

  async function stopNow(name: string, reason?: string): Promise<Slept> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    await endAll(place, members);
    const ms = clock.now().getTime() - began;
    log.info({ cell: name, reason, ms }, "stopped");
    return { state: "stopped", ...(reason === undefined ? {} : { reason }), ...(await usageNow(members, place)), ms };
  }

  /** @returns once it answers, with what of it goes on after that, which never rejects */
  async function wakeNow(name: string, thawMs: number, cut: AbortSignal): Promise<{ readonly woken: Woken; readonly rest: Promise<void> }> {
    const began = clock.now().getTime();
    const { members, place } = known(name);
    const from = frozenOf(members).length > 0 ? "frozen" : members.some((child) => child.isResting()) ? "stopped" : "awake";
    const took = () => clock.now().getTime() - began;
    let reason: string | undefined;
    try {
      const { rest } = await rouse(place, members, thawMs, cut);
      log.info({ cell: name, from, ms: took() }, "awake");
      return { woken: { from, cold: false, ms: took() }, rest };
    } catch (error) {
      reason = reasonOf(error);
      if (from !== "frozen" || cut.aborted)
        throw new IronwrightError("IRW_CELL", { cell: name, problem: `it does not wake: ${reason}` }, error);
    }
    log.warn({ cell: name, reason, ms: took() }, "what was frozen does not answer; it is started anew");
    // all of it, before the first one starts: the door's network goes with the last of them
    await endAll(place, members);
    const { rest } = await rouse(place, members, thawMs, cut).catch((error: unknown) => {
      throw new IronwrightError("IRW_CELL", { cell: name, problem: `it does not wake: ${reasonOf(error)}` }, error);
    });
    return { woken: { from, cold: true, reason, ms: took() }, rest };
  }

  /**
   * The door and those that others wait for, until they answer; `rest` is what then goes on, whose memory comes from disk meanwhile.
   * @throws what did not become ready, or an awake probe that does not pass
   */
  async function rouse(
    place: CellPlace,
    members: readonly Child[],
    thawMs: number,
    cut: AbortSignal,
  ): Promise<{ readonly rest: Promise<void> }> {
    const [doors, asked] = [members.filter(isDoor), members.filter(isAsked)];
    const first = [...doors, ...asked];
    const then = members.filter((child) => !first.includes(child));
    const [thawing, later] = [processesOf(frozenOf(first)), processesOf(frozenOf(then))];
    const wasFrozen = thawing.length + later.length > 0;
    // of a sleeper that is roused to learn what it needs, they go on already
    const goOnWhereTheyWere = wasFrozen ? processesOf(first) : [];
    await memory.bringBack(place, thawing, cut, "needed");
    // what ended in its sleep starts from nothing
    const thaws = wasFrozen && goOnWhereTheyWere.length === first.length;
    const timeoutMs = thaws ? thawMs : START_TIMEOUT_MS;
    // a slow disk is no fault of theirs: their time begins when they can go on
    const until = clock.now().getTime() + timeoutMs;
    const limit = AbortSignal.any([AbortSignal.timeout(timeoutMs), cut]);
    const ready = (child: Child) => child.waitReady(Math.max(LEAST_READY_MS, until - clock.now().getTime()), cut);
    for (const door of doors) await door.rouse();
    await Promise.all(asked.map((child) => child.rouse()));
    const unhurried = AbortSignal.any([cut, lettingGo.signal]);
    const fetched = memory.bringBack(place, [...thawing, ...later], unhurried);
    await Promise.all(first.map(ready));
    // what goes on is ready no sooner than its awake probe passes; what was started, or ended meanwhile and was started anew, may be
    const thawed = new Set(goOnWhereTheyWere.map(({ pid }) => pid));
    const started = asked.filter((child) => !thawed.has(child.process()?.pid ?? 0));
    await Promise.all(started.map((child) => answers(child.spec(), limit, cut)));
    const noted = out.delete(place.name) && thawing.length > 0 ? memory.note(place, thawing, unhurried) : undefined;
    const goes = Promise.all([fetched, noted]).then(async () => {
      await goOn(place, then, wasFrozen);
      await Promise.all(then.map(ready));
    });
    // where nobody is asked, or anew, going on is what there is to wait for
    if (asked.length === started.length) await goes;
    const rest = goes
      .catch((error: unknown) => log.warn({ cell: place.name, reason: reasonOf(error) }, "not all of it goes on"))
      .finally(() => goingOn.delete(rest));
    goingOn.add(rest);
    return { rest };
  }

  /** Who left his parent's session goes on too. */
  async function goOn({ native, name }: CellPlace, members: readonly Child[], wasFrozen: boolean): Promise<void> {
    await Promise.all(members.map((child) => child.rouse()));
    if (wasFrozen) await runNative(native, ["cgroup", "continue", name]);
  }

  async function answers({ name, awake }: ChildSpec, limit: AbortSignal, cut: AbortSignal): Promise<void> {
    while (awake && !(await isReady(awake, limit))) {
      cut.throwIfAborted();
      if (limit.aborted) throw new Error(`${name} does not answer a call`);
      await clock.sleep(AWAKE_POLL_MS);
    }
  }

  function wake(name: string, thawMs = THAW_TIMEOUT_MS): Promise<Woken> {
    const already = waking.get(name);
    if (already) return already;
    // somebody waits: what goes to sleep needs not be out of memory first
    doing.get(name)?.abort(new Error("somebody wakes it"));
    const mine = Promise.withResolvers<Woken>();
    void whileOpen(name, async (cut) => {
      const { woken, rest } = await wakeNow(name, thawMs, cut);
      mine.resolve(woken);
      await rest;
    }).catch(mine.reject);
    const answered = mine.promise.finally(() => waking.delete(name));
    waking.set(name, answered);
    return answered;
  }

  function freeze(name: string, encrypted: boolean, learns: boolean): Promise<Slept> {
    return whileOpen(name, (woken) =>
      freezeNow(name, waking.has(name) || stopping.has(name) ? AbortSignal.abort() : woken, encrypted, learns).finally(() =>
        leaving.delete(name),
      ),
    );
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
      const places = new Map([...children()].flatMap((child) => child.spec().cell ?? []).map((place) => [place.name, place]));
      const counts = await recent([...places.values()]);
      return [...places.keys()].map((name) => statusOf(name, counts[name]));
    },
    async status(name) {
      const place = membersOf(name)[0]?.spec().cell;
      return place && statusOf(name, (await countsOf([place]))[name]);
    },
    freeze: (name, encrypted) => freeze(name, encrypted, true),
    stop(name) {
      stopping.add(name);
      // who wakes it is heard before
      if (!waking.has(name)) doing.get(name)?.abort(new Error("it is being stopped"));
      return whileOpen(name, () => stopNow(name)).finally(() => stopping.delete(name));
    },
    wake,
    alone(name, call) {
      doing.get(name)?.abort(new Error("it is being removed"));
      return inTurn(name, call);
    },
    async removeGroup({ name, native }) {
      await runNative(native, ["cgroup", "kill", name]);
      await runNative(native, ["cgroup", "remove", name]);
      out.delete(name);
      memory.forget(name);
    },
    resume() {
      for (const name of names()) {
        const members = membersOf(name);
        const isLeft = (process: ProcessIdentity) => memoryOf(process, "RssAnon") > LEFT_BYTES;
        if (stateOf(members) !== "frozen" || !processesOf(members).some(isLeft)) continue;
        // whoever put it to sleep has been told so already: it is not roused
        freeze(name, false, false).catch((error: unknown) =>
          log.warn({ cell: name, reason: reasonOf(error) }, "its memory stays where it is"),
        );
      }
    },
    async letGo() {
      lettingGo.abort(new Error("the supervisor ends"));
      await Promise.all(goingOn);
    },
    close() {
      closed = true;
      for (const cut of doing.values()) cut.abort(new Error("the supervisor is shutting down"));
    },
  };
}

function stateOf(members: readonly Child[]): CellStatus["state"] {
  const resting = members.filter((child) => child.isResting());
  if (resting.length === 0) return members.every((child) => child.status().ready) ? "awake" : "mixed";
  if (resting.length < members.length) return "mixed";
  return members.some((child) => child.status().state === "frozen") ? "frozen" : "stopped";
}

function frozenOf(members: readonly Child[]): readonly Child[] {
  return members.filter((child) => child.status().state === "frozen");
}

function isDoor(child: Child): boolean {
  return child.spec().cell?.holder === true;
}

/** Whether callers wait for it. */
function isAsked(child: Child): boolean {
  return !isDoor(child) && child.spec().ready !== undefined;
}

function parted(members: readonly Child[]): { readonly doors: readonly Child[]; readonly others: readonly Child[] } {
  return { doors: members.filter(isDoor), others: members.filter((child) => !isDoor(child)) };
}

function processesOf(members: readonly Child[]): readonly ProcessIdentity[] {
  return members.flatMap((child) => child.process() ?? []);
}

/** Why so many bytes cannot be frozen, or undefined when there is room for them. @param others bytes that go out at the same time */
export function noRoomFor(held: number, others: number, meminfo: string): string | undefined {
  if (kibibytes(meminfo, "SwapTotal") === 0) return "there is no swap";
  return noRoomIn(held, Math.max(0, kibibytes(meminfo, "SwapFree") * 1024 - others * ROOM_TO_SPARE));
}

/** The same of our swap alone, where none of it may be in clear. */
export function noRoomInOurs(held: number, others: number, { kind = "plain", bytes, usedBytes, reason }: SwapStatus): string | undefined {
  if (kind === "plain") return `there is no encrypted swap${reason === undefined ? "" : `: ${reason}`}`;
  return noRoomIn(held, Math.max(0, bytes - usedBytes - others * ROOM_TO_SPARE));
}

function noRoomIn(held: number, free: number): string | undefined {
  if (held * ROOM_TO_SPARE <= free) return undefined;
  return `it holds ${mebibytes(held)} MiB, and swap has room for ${mebibytes(free)} MiB`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

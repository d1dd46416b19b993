import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { runNative } from "./native.ts";
import type { ProcessIdentity } from "./process.ts";
import type { CellPlace } from "./supervisor.ts";

/** Moves the memory of cells out to swap and back; knows which of it each needs to answer. */
export interface CellMemory {
  /** Pushes it out, one cell's after the other, and who stalls holds up the next for a while only. */
  pushOut(place: CellPlace, processes: readonly ProcessIdentity[], cut: AbortSignal): Promise<void>;
  /** What is out already too, so that what is needed lies together: a help, and without it no less is out. */
  pushOutAnew(place: CellPlace, processes: readonly ProcessIdentity[], cut: AbortSignal): Promise<void>;
  /** Brings it back ahead of need; in vain where it is in memory still, or cannot be: it comes back page by page then. */
  bringBack(place: CellPlace, processes: readonly ProcessIdentity[], cut: AbortSignal, only?: "needed"): Promise<void>;
  /** What of it is there is what they needed to answer: it lies together from the next time on, and comes back alone. */
  note(place: CellPlace, processes: readonly ProcessIdentity[], cut: AbortSignal): Promise<void>;
  /** Whether it is noted what these processes need, and not some before them. */
  isNoted(name: string, processes: readonly ProcessIdentity[]): boolean;
  forget(name: string): void;
}

/** How long one cell's memory goes out before the next one's does as well, for whom a stalled disk is no reason to wait. */
const LONGEST_TURN_MS = 15_000;
/** Reading ahead is a help, and never a reason to wait for long. */
const LONGEST_PREFETCH_MS = 10_000;

/** @param dir where it is noted what each cell needs */
export function cellMemory({ dir, clock, log }: { readonly dir: string; readonly clock: Clock; readonly log: Logger }): CellMemory {
  /** One cell's memory at a time, so that it lies together on the disk: of two at once each is read back in crumbs. */
  const onTheWayOut = turns();

  function notesOf(name: string): string {
    return join(dir, "needed", name);
  }

  function noteOf(name: string): string {
    return join(notesOf(name), "pages");
  }

  async function inTurn(
    { name, native }: CellPlace,
    verb: "out" | "anew",
    processes: readonly ProcessIdentity[],
    cut: AbortSignal,
  ): Promise<void> {
    let out: Promise<void> | undefined;
    const push = async () => {
      if (processes.length > 0) await runNative(native, ["page", verb, "--needed", noteOf(name), ...processes.map(ticketOf)], cut);
      await runNative(native, ["cgroup", "reclaim", name], cut);
    };
    await onTheWayOut(async () => {
      if (cut.aborted) return;
      out = push();
      const turnIsOver = new AbortController();
      await Promise.race([out, clock.sleep(LONGEST_TURN_MS, turnIsOver.signal).catch(() => {})]).finally(() => turnIsOver.abort());
    });
    await out;
  }

  return {
    pushOut: (place, processes, cut) => inTurn(place, "out", processes, cut),

    async pushOutAnew(place, processes, cut) {
      try {
        await inTurn(place, "anew", processes, cut);
      } catch (error) {
        if (cut.aborted) return;
        log.warn({ cell: place.name, reason: reasonOf(error) }, "what it needs to answer does not lie together");
        await inTurn(place, "out", processes, cut);
      }
    },

    async bringBack({ native, name }, processes, cut, only) {
      if (processes.length === 0) return;
      const limit = AbortSignal.any([cut, AbortSignal.timeout(LONGEST_PREFETCH_MS)]);
      const what = ["page", "in", ...(only === "needed" ? ["--needed", noteOf(name)] : [])];
      await runNative(native, [...what, ...processes.map(ticketOf)], limit).catch((error: unknown) => {
        if (!cut.aborted) log.warn({ cell: name, reason: reasonOf(error) }, "its memory is not brought back ahead of need");
      });
    },

    async note({ native, name }, processes, cut) {
      try {
        mkdirSync(notesOf(name), { recursive: true, mode: 0o700 });
        await runNative(native, ["page", "note", noteOf(name), ...processes.map(ticketOf)], cut);
      } catch (error) {
        if (!cut.aborted) log.warn({ cell: name, reason: reasonOf(error) }, "what it needs to answer is not noted");
      }
    },

    isNoted(name, processes) {
      try {
        const noted = new Set(
          readFileSync(noteOf(name), "utf8")
            .split("\n", processes.length)
            .map((line) => line.split(" ", 1)[0]),
        );
        return processes.every((process) => noted.has(ticketOf(process)));
      } catch {
        // none is written yet, or none that can be read: it is written anew
        return false;
      }
    },

    forget(name) {
      rmSync(notesOf(name), { recursive: true, force: true });
    },
  };
}

function ticketOf({ pid, startTicks }: ProcessIdentity): string {
  return `${pid}:${startTicks}`;
}

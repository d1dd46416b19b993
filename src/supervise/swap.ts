import { mkdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { readIfThere, writeAtomically } from "./files.ts";
import { runNative } from "./native.ts";
import type { SwapStatus } from "./supervisor.ts";

/** A swap file of this data directory's own, for the cells that are frozen. */
export interface Swap {
  keep(wanted: SwapWanted): Promise<SwapStatus>;
  /** After the supervisor's own start: makes it again where the system was started anew meanwhile. */
  resume(): Promise<void>;
  /** Takes it away, and what is in it back into memory. */
  release(): Promise<void>;
}

export interface SwapWanted {
  readonly bytes: number;
  readonly native: string;
}

/** What stays free on the disk that holds it: etcd stops writing on a full one. */
const DISK_TO_SPARE = 2 ** 30;

export function swapKeeper(dir: string, log: Logger): Swap {
  const file = join(dir, "swap", "cells.swap");
  const record = join(dir, "swap", "wanted.json");
  /** One thing at a time. */
  const inTurn = turns();

  async function keepNow(wanted: SwapWanted): Promise<SwapStatus> {
    const { bytes, native } = wanted;
    const before = inUse(file);
    if (bytes > 0 && before && Math.abs(before.bytes - bytes) < SLACK) return { on: true, ...before };
    if (before && before.usedBytes > 0)
      return { on: true, ...before, reason: `it stays as it is while ${before.usedBytes} bytes of those who sleep are in it` };
    try {
      await takeAway(native);
      if (bytes === 0) return { ...NONE, reason: "none is wanted" };
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      const room = statfsSync(dirname(file));
      if (room.bavail * room.bsize < bytes + DISK_TO_SPARE)
        return { ...NONE, reason: `${dirname(file)} has no room for ${bytes} bytes with ${DISK_TO_SPARE} to spare` };
      writeAtomically(record, `${JSON.stringify(wanted)}\n`);
      await runNative(native, ["swap", "on", file, String(bytes)]);
      log.info({ file, bytes }, "swap is on");
    } catch (error) {
      log.warn({ file, reason: reasonOf(error) }, "there is no swap of ours");
      return { ...NONE, reason: reasonOf(error) };
    }
    return { on: true, ...(inUse(file) ?? { bytes, usedBytes: 0 }) };
  }

  async function takeAway(native: string): Promise<void> {
    await runNative(native, ["swap", "off", file]);
    rmSync(record, { force: true });
  }

  function wantedBefore(): SwapWanted | undefined {
    const text = readIfThere(record);
    return text === undefined ? undefined : (JSON.parse(text) as SwapWanted);
  }

  return {
    keep: (wanted) => inTurn(() => keepNow(wanted)),
    resume: () =>
      inTurn(async () => {
        const wanted = wantedBefore();
        if (wanted && !inUse(file)) await keepNow(wanted);
      }),
    release: () =>
      inTurn(async () => {
        const wanted = wantedBefore();
        if (wanted) await takeAway(wanted.native);
      }),
  };
}

const NONE = { on: false, bytes: 0, usedBytes: 0 } as const;
/** The header's page, and what is left over of the last one. */
const SLACK = 128 * 1024;

function inUse(file: string): { readonly bytes: number; readonly usedBytes: number } | undefined {
  for (const entry of readFileSync("/proc/swaps", "utf8").split("\n")) {
    const [name = "", , size, used] = entry.split(/\s+/);
    // proc_swaps(5): blanks in a name are \040
    if (name.replaceAll("\\040", " ") === file) return { bytes: Number(size) * 1024, usedBytes: Number(used) * 1024 };
  }
  return undefined;
}

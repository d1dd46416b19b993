import { mkdirSync, rmSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { readIfThere, writeAtomically } from "./files.ts";
import { runNative } from "./native.ts";
import type { SwapStatus, SwapWanted } from "./supervisor.ts";

/** Swap of this data directory's own, for the cells that are frozen. */
export interface Swap {
  keep(wanted: SwapWanted): Promise<SwapStatus>;
  status(): Promise<SwapStatus>;
  /** After the supervisor's own start: makes it again where the system was started anew meanwhile. */
  resume(): Promise<void>;
  /** Takes it away, and what is in it back into memory. */
  release(): Promise<void>;
}

type Kind = NonNullable<SwapStatus["kind"]>;

/** What `ironwright-native swap show` says. */
interface InUse {
  readonly kind: Kind;
  readonly bytes: number;
  readonly usedBytes: number;
}

/** What was asked for last, on disk. */
interface Kept extends SwapWanted {
  /** Why it is in clear although that was not what was wanted. */
  readonly plainBecause?: string;
}

/** What stays free on the disk that holds it: etcd stops writing on a full one. */
const DISK_TO_SPARE = 2 ** 30;

export function swapKeeper(dir: string, log: Logger): Swap {
  const file = join(dir, "swap", "cells.swap");
  const record = join(dir, "swap", "wanted.json");
  /** One thing at a time. */
  const inTurn = turns();

  async function keepNow(wanted: SwapWanted): Promise<SwapStatus> {
    try {
      const before = await inUse(wanted.native);
      const because = kept()?.plainBecause;
      if (before && fits(before, wanted, because)) return statusOf(before, because);
      if (before && before.usedBytes > 0)
        return statusOf(before, `it stays as it is while ${before.usedBytes} bytes of those who sleep are in it`);
      await takeAway(wanted.native);
      if (wanted.bytes === 0) return { ...NONE, reason: "none is wanted" };
      return await make(wanted);
    } catch (error) {
      log.warn({ file, reason: reasonOf(error) }, "there is no swap of ours");
      return { ...NONE, reason: reasonOf(error) };
    }
  }

  /** @throws why there is none */
  async function make(wanted: SwapWanted): Promise<SwapStatus> {
    const { bytes, native, medium = "file", encryption = "prefer" } = wanted;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const room = statfsSync(dirname(file));
    if (medium === "file" && room.bavail * room.bsize < bytes + DISK_TO_SPARE)
      throw new Error(`${dirname(file)} has no room for ${bytes} bytes with ${DISK_TO_SPARE} to spare`);
    keepRecord(wanted);
    const turnOn = (kind: Kind) => runNative(native, ["swap", "on", kind, file, String(bytes)]);
    let because: string | undefined;
    if (medium === "zram") await turnOn("zram");
    else if (encryption === "off") await turnOn("plain");
    else
      await turnOn("encrypted").catch(async (error: unknown) => {
        because = `this kernel does not encrypt it: ${reasonOf(error)}`;
        if (encryption === "require") throw new Error(because, { cause: error });
        await turnOn("plain");
        keepRecord({ ...wanted, plainBecause: because });
      });
    const now = await inUse(native);
    if (!now) throw new Error("it is not in use, although nothing failed");
    log[because === undefined ? "info" : "warn"]({ file, bytes, kind: now.kind, reason: because }, "swap is on");
    return statusOf(now, because);
  }

  async function inUse(native: string): Promise<InUse | undefined> {
    return (JSON.parse(await runNative(native, ["swap", "show", file])) as InUse | null) ?? undefined;
  }

  async function takeAway(native: string): Promise<void> {
    await runNative(native, ["swap", "off", file]);
    rmSync(record, { force: true });
  }

  function kept(): Kept | undefined {
    const text = readIfThere(record);
    return text === undefined ? undefined : (JSON.parse(text) as Kept);
  }

  function keepRecord(value: Kept): void {
    writeAtomically(record, `${JSON.stringify(value)}\n`);
  }

  return {
    keep: (wanted) => inTurn(() => keepNow(wanted)),
    status: () =>
      inTurn(async () => {
        const wanted = kept();
        const now = wanted && (await inUse(wanted.native));
        return now ? statusOf(now, wanted.plainBecause) : { ...NONE, reason: "nobody has asked for it yet" };
      }),
    resume: () =>
      inTurn(async () => {
        const wanted = kept();
        if (!wanted) return;
        const { plainBecause: _, ...again } = wanted;
        await keepNow(again);
      }),
    release: () =>
      inTurn(async () => {
        const wanted = kept();
        if (wanted) await takeAway(wanted.native);
      }),
  };
}

const NONE = { on: false, bytes: 0, usedBytes: 0 } as const;
/** The header's page, and what is left over of the last one. */
const SLACK = 128 * 1024;

function statusOf(now: InUse, reason: string | undefined): SwapStatus {
  return { on: true, ...now, ...(reason === undefined ? {} : { reason }) };
}

function fits({ kind, bytes }: InUse, wanted: SwapWanted, plainBecause: string | undefined): boolean {
  const { medium = "file", encryption = "prefer" } = wanted;
  const asked = medium === "zram" ? "zram" : encryption === "off" ? "plain" : "encrypted";
  // what could not be encrypted is not tried again while it is on
  const isSecondBest = asked === "encrypted" && encryption === "prefer" && kind === "plain" && plainBecause !== undefined;
  return Math.abs(bytes - wanted.bytes) < SLACK && (kind === asked || isSecondBest);
}

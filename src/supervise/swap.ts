import { rmSync, statfsSync } from "node:fs";
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

/** What is asked for, what was left out filled in. */
type Asked = Required<SwapWanted>;

function askedBy(wanted: SwapWanted): Asked {
  return { medium: "file", encryption: "prefer", ...wanted };
}

/** What was asked for last, on disk. */
interface Kept extends SwapWanted {
  /** Why there is none, or why it is in clear although that was not what was wanted. */
  readonly reason?: string;
}

/** What stays free on the disk that holds it: etcd stops writing on a full one. */
const DISK_TO_SPARE = 2 ** 30;

export function swapKeeper(dir: string, log: Logger): Swap {
  const file = join(dir, "swap", "cells.swap");
  const record = join(dir, "swap", "wanted.json");
  /** One thing at a time. */
  const inTurn = turns();
  /** Once a start: modules may have been loaded since the last one, and it is not made anew each time that somebody sleeps. */
  let hasTriedToEncrypt = false;

  async function keepNow(wanted: Asked): Promise<SwapStatus> {
    try {
      const before = await inUse(wanted.native);
      const because = kept()?.reason;
      if (before && fits(before, wanted)) return statusOf(before, undefined);
      if (before && because !== undefined && isSecondBest(before, wanted) && (hasTriedToEncrypt || before.usedBytes > 0))
        return statusOf(before, because);
      if (before && before.usedBytes > 0)
        return statusOf(before, `it stays as it is while ${before.usedBytes} bytes of those who sleep are in it`);
      if (wanted.bytes > 0) return await make(wanted);
      await takeAway(wanted.native);
      return NONE;
    } catch (error) {
      log.warn({ file, reason: reasonOf(error) }, "there is no swap of ours");
      return { ...NONE, reason: reasonOf(error) };
    }
  }

  /** @throws why there is none */
  async function make(wanted: Asked): Promise<SwapStatus> {
    const { bytes, native } = wanted;
    await runNative(native, ["swap", "off", file]);
    keepRecord(wanted);
    try {
      const because = await turnOn(wanted);
      const now = await inUse(native);
      if (!now) throw new Error("it is not in use, although nothing failed");
      if (because !== undefined) keepRecord({ ...wanted, reason: because });
      log[because === undefined ? "info" : "warn"]({ file, bytes, kind: now.kind, reason: because }, "swap is on");
      return statusOf(now, because);
    } catch (error) {
      keepRecord({ ...wanted, reason: reasonOf(error) });
      throw error;
    }
  }

  /** Why it is in clear although that was not what was wanted. */
  async function turnOn({ bytes, native, medium, encryption }: Asked): Promise<string | undefined> {
    const on = (kind: Kind) => runNative(native, ["swap", "on", kind, file, String(bytes)]);
    const room = statfsSync(dirname(file));
    if (medium === "file" && room.bavail * room.bsize < bytes + DISK_TO_SPARE)
      throw new Error(`${dirname(file)} has no room for ${bytes} bytes with ${DISK_TO_SPARE} to spare`);
    if (medium === "zram" || encryption === "off") {
      await on(medium === "zram" ? "zram" : "plain");
      return undefined;
    }
    try {
      await on("encrypted");
      return undefined;
    } catch (error) {
      hasTriedToEncrypt = true;
      const because = `it cannot be encrypted: ${reasonOf(error)}`;
      if (encryption === "require") throw new Error(because, { cause: error });
      await on("plain").catch((second: unknown) => {
        throw new Error(`${because}; nor is there a plain one: ${reasonOf(second)}`, { cause: second });
      });
      return because;
    }
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
    keep: (wanted) => inTurn(() => keepNow(askedBy(wanted))),
    status: () =>
      inTurn(async () => {
        const wanted = kept();
        if (!wanted) return NONE;
        const now = await inUse(wanted.native);
        return now ? statusOf(now, wanted.reason) : { ...NONE, reason: wanted.reason ?? "something else took it away" };
      }),
    resume: () =>
      inTurn(async () => {
        const wanted = kept();
        if (!wanted) return;
        const { reason: _, ...again } = wanted;
        await keepNow(askedBy(again));
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

function fits({ kind, bytes }: InUse, { bytes: asked, medium, encryption }: Asked): boolean {
  return Math.abs(bytes - asked) < SLACK && kind === (medium === "zram" ? "zram" : encryption === "off" ? "plain" : "encrypted");
}

/** It would fit, were it encrypted. */
function isSecondBest(now: InUse, wanted: Asked): boolean {
  return wanted.medium === "file" && wanted.encryption === "prefer" && fits(now, { ...wanted, encryption: "off" });
}

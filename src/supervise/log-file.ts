import { closeSync, copyFileSync, fstatSync, mkdirSync, openSync, readSync, statfsSync, statSync, truncateSync, writeSync } from "node:fs";
import { dirname } from "node:path";

const LARGEST_BYTES = 16 * 1024 * 1024;
const TAIL_BYTES = 64 * 1024;

/** Opens for appending: then truncating it under the child's feet is safe. */
export function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return openSync(file, "a", 0o600);
}

/** Lines that a full disk does not take are lost: pino's own destination waits for room, and with it the parent of every control plane. */
export function lossyLog(descriptor: number): { write(line: string): void } {
  return {
    write(line) {
      try {
        writeSync(descriptor, line);
      } catch {
        // there is nowhere to say so
      }
    },
  };
}

/**
 * Whether a log on this disk could take some lines more.
 * @param ofRoot it is root who writes it, and may use what file systems keep for him
 */
export function hasRoom(file: string, ofRoot: boolean): boolean {
  try {
    const { bavail, bfree, bsize } = statfsSync(dirname(file));
    return (ofRoot ? bfree : bavail) * bsize >= TAIL_BYTES;
  } catch {
    // it went with what it was of
    return true;
  }
}

/** Moves a log that grew too large to `FILE.1`. The child keeps its descriptor, so the content is copied and the file emptied. */
export function rotateLog(file: string, largestBytes = LARGEST_BYTES): boolean {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= largestBytes) return false;
  copyFileSync(file, `${file}.1`);
  truncateSync(file, 0);
  return true;
}

/** The last lines of a log. */
export function tailLog(file: string, lines: number): string {
  let handle: number;
  try {
    handle = openSync(file, "r");
  } catch {
    return "";
  }
  try {
    const { size } = fstatSync(handle);
    const from = Math.max(0, size - TAIL_BYTES);
    const bytes = Buffer.alloc(size - from);
    const read = readSync(handle, bytes, 0, bytes.length, from);
    const all = bytes.toString("utf8", 0, read).trimEnd().split("\n");
    // the first one may be a part of a line
    return (from > 0 ? all.slice(1) : all).slice(-lines).join("\n");
  } catch {
    // a log that cannot be read must not keep its child from being started again
    return "";
  } finally {
    closeSync(handle);
  }
}

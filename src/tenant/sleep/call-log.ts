import { open } from "node:fs/promises";
import { callReader } from "./calls.ts";

/** Who called each tenant, by the logs of their apiservers, which have the audit events in them. */
export interface CallLogs {
  /** When people or pods last called, in milliseconds; undefined while none is known. Reads on where it ended the last time. */
  lastCall(id: string): Promise<number | undefined>;
  forget(id: string): void;
}

interface Reading {
  readonly reader: ReturnType<typeof callReader>;
  /** The file that is being read: a log that was rotated is another one of the same name. */
  inode: bigint;
  offset: number;
  last?: number;
}

const CHUNK_BYTES = 256 * 1024;
/** A tenant that logs faster than it is looked at is awake anyhow. */
const MOST_BYTES = 16 * 1024 * 1024;

/** @param logOf the file of a tenant's apiserver; the supervisor empties one that grew large */
export function callLogs(logOf: (id: string) => string): CallLogs {
  const readings = new Map<string, Reading>();

  return {
    async lastCall(id) {
      const file = await open(logOf(id), "r").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (!file) return readings.get(id)?.last;
      try {
        const { ino, size } = await file.stat({ bigint: true });
        const before = readings.get(id);
        const reading: Reading = before ?? { reader: callReader(), inode: ino, offset: 0 };
        readings.set(id, reading);
        if (reading.inode !== ino || size < BigInt(reading.offset)) [reading.inode, reading.offset] = [ino, 0];
        if (size - BigInt(reading.offset) > BigInt(MOST_BYTES)) reading.offset = Number(size) - MOST_BYTES;
        const chunk = Buffer.alloc(CHUNK_BYTES);
        while (BigInt(reading.offset) < size) {
          const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, reading.offset);
          if (bytesRead === 0) break;
          reading.offset += bytesRead;
          // what counts is ASCII, and a character cut in two spoils a name of no interest
          reading.reader.push(chunk.toString("latin1", 0, bytesRead));
        }
        const { last } = reading.reader.take();
        if (last !== undefined) reading.last = Math.max(reading.last ?? 0, last);
        return reading.last;
      } finally {
        await file.close();
      }
    },
    forget: (id) => void readings.delete(id),
  };
}

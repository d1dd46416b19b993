import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { reasonOf } from "../core/errors.ts";
import type { ProcessIdentity } from "./process.ts";
import type { ChildSpec } from "./supervisor.ts";

/** What is kept of a child on disk, so that the next supervisor finds it. */
export interface ChildRecord {
  readonly spec: ChildSpec;
  readonly wanted: "running" | "stopped";
  readonly process?: ProcessIdentity;
  /** Its cell sleeps: it is not started, or goes on, before the cell is woken. */
  readonly rest?: "frozen" | "stopped";
  readonly startedAt?: string;
  readonly restarts: number;
  readonly reason?: string;
  readonly lastLog?: string;
}

export function readRecords(dir: string, log: Logger): ChildRecord[] {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return readdirSync(dir)
    .filter((file) => file.endsWith(".json"))
    .flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(join(dir, file), "utf8")) as ChildRecord];
      } catch (error) {
        log.error({ file, reason: reasonOf(error) }, "the record of a child cannot be read; the child is not taken over");
        return [];
      }
    });
}

/** A cell that was being put to sleep, or woken, when the supervisor was killed is awake: half of it asleep, it would be neither. */
export function settled(records: readonly ChildRecord[]): ChildRecord[] {
  return records.map((record) => {
    const cell = record.spec.cell?.name;
    if (cell === undefined || records.every((one) => one.spec.cell?.name !== cell || one.rest)) return record;
    const { rest: _over, ...awake } = record;
    return awake;
  });
}

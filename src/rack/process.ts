import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";

/** A process that is surely the one meant: pids are used again, a pid with its start time is not. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks after boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). */
  readonly startTime: string;
}

export const processIdSchema = z.object({ pid: z.int().min(2), startTime: z.string().min(1) });

/** Undefined when it is gone or a zombie. */
export function identify(pid: number): ProcessId | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // the name in field 2 may hold anything, even brackets
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTime] = [fields[0], fields[19]];
    return startTime === undefined || state === "Z" ? undefined : { pid, startTime };
  } catch {
    return undefined;
  }
}

export function isAlive(id: ProcessId): boolean {
  return identify(id.pid)?.startTime === id.startTime;
}

/** Resolves to whether the process is gone within `ms`. */
export async function gone(id: ProcessId, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (isAlive(id)) {
    if (performance.now() > deadline) return false;
    await wait(20);
  }
  return true;
}

/** SIGKILL, if it is still the one meant. */
export async function kill(id: ProcessId): Promise<void> {
  if (!isAlive(id)) return;
  process.kill(id.pid, "SIGKILL");
  await gone(id, 5_000);
}

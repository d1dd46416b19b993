import { readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { runNative } from "./native.ts";
import { isAlive, type ProcessIdentity } from "./process.ts";
import type { CellPlace, CellUsage } from "./supervisor.ts";

/** What the kernel counts for one cell. */
export interface Counted {
  readonly memoryBytes: number;
  readonly cpuMicros: number;
}

type Counts = Readonly<Record<string, Counted>>;

/** Counts of all cells are asked for by one process, and not each time that somebody looks. */
const COUNTED_FOR_MS = 10_000;

/** What cells' cgroups count. A cell that never ran has no group yet, and none in the answer. */
export async function countsOf(places: readonly CellPlace[]): Promise<Counts> {
  const all: Record<string, Counted> = {};
  for (const [native, some] of Map.groupBy(places, (place) => place.native)) {
    const text = await runNative(native, ["cgroup", "usage", ...some.map((place) => place.name)]).catch(() => "{}");
    Object.assign(all, JSON.parse(text) as Counts);
  }
  return all;
}

/** Counts that are ten seconds old at most. */
export function recentCounts(clock: Clock, count: typeof countsOf = countsOf): typeof countsOf {
  let last: { readonly at: number; readonly counts: Promise<Counts> } | undefined;
  return (places) => {
    const now = clock.now().getTime();
    if (!last || now - last.at >= COUNTED_FOR_MS) last = { at: now, counts: count(places) };
    return last.counts;
  };
}

/** @param counted of its cgroup */
export function usageOf(processes: readonly ProcessIdentity[], counted: Counted | undefined): CellUsage {
  const sum = (field: string) => processes.reduce((total, process) => total + memoryOf(process, field), 0);
  return {
    residentBytes: sum("RssAnon") + sum("RssShmem"),
    swappedBytes: sum("VmSwap"),
    chargedBytes: counted?.memoryBytes ?? 0,
    cpuSeconds: (counted?.cpuMicros ?? 0) / 1e6,
  };
}

/** A field of its /proc/PID/status, in bytes. */
export function memoryOf(process: ProcessIdentity, field: string): number {
  try {
    const status = readFileSync(`/proc/${process.pid}/status`, "utf8");
    return isAlive(process) ? kibibytes(status, field) * 1024 : 0;
  } catch {
    return 0;
  }
}

/** A field of /proc/meminfo or /proc/PID/status. */
export function kibibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
}

import { parseDuration } from "../../core/duration.ts";
import { parseSchedule, type Schedule } from "../../core/schedule.ts";
import { readTimeZone, UTC } from "../../core/time-zone.ts";
import type { SleepSpec } from "../../core/virtual-clusters.ts";

/** `spec.sleep`, read. Times are milliseconds. */
export interface SleepPolicy {
  readonly order: "Auto" | "Awake" | "Asleep";
  readonly paused: boolean;
  readonly awakeUntil?: number;
  readonly afterIdleMs?: number;
  readonly stopAfterMs?: number;
  readonly schedule: readonly SleepHours[];
  readonly nodes: "release" | "keep";
}

/** Asleep from each of `sleep` to the next of `wake`. */
export interface SleepHours {
  readonly sleep: Schedule;
  readonly wake: Schedule;
}

/** Reads a spec that was checked before; what cannot be read puts nobody to sleep. */
export function sleepPolicy(spec: SleepSpec): SleepPolicy {
  const afterIdleMs = spec.afterIdle === undefined ? undefined : parseDuration(spec.afterIdle);
  const stopAfterMs = spec.stopAfter === undefined ? undefined : parseDuration(spec.stopAfter);
  const zone = readTimeZone(spec.timeZone ?? "UTC") ?? UTC;
  return {
    order: spec.state ?? "Auto",
    paused: spec.paused ?? false,
    nodes: spec.nodes ?? "release",
    schedule: (spec.schedule ?? []).flatMap(({ sleep, wake }) => {
      // a night that the clock is put forward in still has its end
      const [from, to] = [sleep, wake].map((text) => parseSchedule(text, { zone, shifts: "once" }));
      return from && to ? [{ sleep: from, wake: to }] : [];
    }),
    ...(spec.awakeUntil === undefined ? {} : { awakeUntil: Date.parse(spec.awakeUntil) }),
    ...(afterIdleMs === undefined ? {} : { afterIdleMs }),
    ...(stopAfterMs === undefined ? {} : { stopAfterMs }),
  };
}

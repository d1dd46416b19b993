import { parseDuration } from "../../core/duration.ts";
import { parseSchedule, type Schedule } from "../../core/schedule.ts";
import { readTimeZone, UTC } from "../../core/time-zone.ts";

/** A CronJob (batch/v1) as far as it says when it runs. */
export interface CronJob {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly schedule: string;
    readonly timeZone?: string | null;
    readonly suspend?: boolean | null;
    readonly startingDeadlineSeconds?: number | null;
  };
  readonly status?: { readonly lastScheduleTime?: string | null };
}

export interface DueCronJob {
  /** `namespace/name`. */
  readonly name: string;
  /** Milliseconds; in the past when it should have begun and did not. */
  readonly at: number;
}

/** Upstream looks at a CronJob again only after so long, whatever its deadline. */
const SHORTEST_DEADLINE_S = 10;

/**
 * The CronJob that is due first, and when: what upstream's controller would start. A sleeper's CronJobs do not change, so that
 * this can be asked before it falls asleep and holds until it wakes.
 */
export function nextCronJob(jobs: Iterable<CronJob>, now: number): DueCronJob | undefined {
  let first: DueCronJob | undefined;
  for (const job of jobs) {
    const at = dueAt(job, now);
    if (at === undefined || (first && first.at <= at)) continue;
    first = { name: `${job.metadata.namespace ?? "default"}/${job.metadata.name}`, at };
  }
  return first;
}

/** When a CronJob is due next; nothing when it is suspended, on its way out, or cannot be read. */
export function dueAt({ metadata, spec, status }: CronJob, now: number): number | undefined {
  if (spec.suspend || metadata.deletionTimestamp) return undefined;
  const next = timesOf(spec.schedule, spec.timeZone ?? undefined);
  if (!next) return undefined;
  const last = Date.parse(status?.lastScheduleTime ?? metadata.creationTimestamp ?? "");
  // who has never run and says nothing of its birth counts from now
  const from = Number.isNaN(last) ? now : Math.min(last, now);
  const { startingDeadlineSeconds: deadline } = spec;
  const due = next(from);
  if (typeof deadline !== "number" || due === undefined || due > now) return due;
  // what is missed for longer than its deadline is not made up for
  const earliest = now - Math.max(deadline, SHORTEST_DEADLINE_S) * 1_000;
  return due >= earliest ? due : next(Math.max(from, earliest - 1));
}

/** Upstream reads robfig/cron's descriptors too; `@every` counts from the last time. */
function timesOf(text: string, timeZone: string | undefined): Schedule["next"] | undefined {
  const every = /^@every (.+)$/.exec(text.trim())?.[1];
  if (every !== undefined) {
    const ms = parseDuration(every);
    return ms === undefined || !Number.isFinite(ms) || ms < 1_000 ? undefined : (at) => Math.floor(at / 1_000) * 1_000 + ms;
  }
  const zone = timeZone === undefined ? UTC : readTimeZone(timeZone);
  return zone && parseSchedule(text, { zone, shifts: "upstream" })?.next;
}

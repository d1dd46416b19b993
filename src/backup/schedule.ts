import { CronExpressionParser } from "cron-parser";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Resource } from "../core/resources.ts";
import type { EventRecorder } from "../kube/index.ts";
import type { Metrics } from "../observe/index.ts";
import { type BackupOptions, backupsIn, prune, takeBackup } from "./backup.ts";
import { hostOf } from "./host-id.ts";

export interface BackupPlan {
  /** Cron: five fields. */
  readonly schedule: string;
  readonly timeZone: string;
  readonly directory: string;
  /** So many of this host's backups stay there. */
  readonly keep: number;
  /** Public keys: this host cannot read what it writes. */
  readonly recipients: readonly string[];
}

export interface ScheduleOptions extends Omit<BackupOptions, "to" | "lock"> {
  readonly plan: BackupPlan;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  /** What events are about. */
  readonly about: Resource;
}

export interface BackupSchedule {
  start(): void;
  /** One that is being written is waited for. */
  stop(): Promise<void>;
}

/** A full disk or an etcd that restarts is over sooner than a day. */
const RETRY_MS = 10 * 60_000;
const LONGEST_MS = 2 ** 31 - 1;

/** When the next backup is due. One that was missed while the daemon was down is due at once. @throws IRW_CONFIG_INVALID */
export function nextBackup(plan: Pick<BackupPlan, "schedule" | "timeZone">, last: Date | undefined, now: Date): Date {
  const cron = cronOf(plan, now);
  const before = cronOf(plan, now).prev().toDate();
  if (last && last < before) return now;
  return cron.next().toDate();
}

function cronOf({ schedule, timeZone }: Pick<BackupPlan, "schedule" | "timeZone">, now: Date) {
  try {
    return CronExpressionParser.parse(schedule, { tz: timeZone, currentDate: now });
  } catch (error) {
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: "backup.schedule", problems: `  ${reasonOf(error)}` }, error);
  }
}

/** Takes backups when they are due, and says how the last one went. @throws IRW_CONFIG_INVALID at once for a schedule that is none */
export function backupSchedule(options: ScheduleOptions): BackupSchedule {
  const { plan, clock, log, metrics, events } = options;
  nextBackup(plan, undefined, clock.now());
  const ending = new AbortController();
  let loop: Promise<void> | undefined;

  /** Ends by `stop` alone: what fails is tried again, and nothing of it reaches the process. */
  async function run(): Promise<void> {
    let due: Date | undefined;
    while (!ending.signal.aborted) {
      due ??= await attempt(firstDue);
      if (!due) {
        await reached(soon());
        continue;
      }
      if (!(await reached(due))) return;
      const began = clock.now();
      const isDone = await attempt(write);
      const next = nextBackup(plan, isDone ? began : undefined, clock.now());
      due = isDone ? next : new Date(Math.min(next.getTime(), soon().getTime()));
    }
  }

  /** False when it is told to stop first. */
  async function reached(due: Date): Promise<boolean> {
    while (!ending.signal.aborted) {
      const left = due.getTime() - clock.now().getTime();
      await clock.sleep(Math.min(Math.max(0, left), LONGEST_MS), ending.signal).catch(() => {});
      if (clock.now() >= due) return !ending.signal.aborted;
    }
    return false;
  }

  function soon(): Date {
    return new Date(clock.now().getTime() + RETRY_MS);
  }

  /** By the newest backup there is; the directory may be of another machine, and away. */
  function firstDue(): Date {
    const last = lastOf(plan.directory, hostOf(options.dataDir, options.random));
    if (last) metrics.backupLastSuccess.set(last.getTime() / 1000);
    return nextBackup(plan, last, clock.now());
  }

  async function write(): Promise<true> {
    const taken = await takeBackup({ ...options, to: `${plan.directory}/`, lock: { recipients: plan.recipients } });
    metrics.backups.inc({ end: "done" });
    metrics.backupLastSuccess.set(Date.parse(taken.manifest.takenAt) / 1000);
    metrics.backupBytes.set(taken.bytes);
    const removed = pruned(taken.manifest.host);
    log.info({ file: taken.file, bytes: taken.bytes, ms: taken.ms, removed }, "a backup is written");
    events.record(options.about, "Normal", "BackupWritten", `${taken.file}, ${taken.bytes} bytes in ${formatDuration(taken.ms)}`);
    return true;
  }

  /** The backup is written all the same: another one at once would only fill the directory. */
  function pruned(host: string): readonly string[] {
    try {
      return prune(plan.directory, host, plan.keep);
    } catch (error) {
      log.warn({ err: error, directory: plan.directory }, "old backups were not removed");
      return [];
    }
  }

  async function attempt<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      metrics.backups.inc({ end: "failed" });
      log.error({ err: error }, "no backup was written");
      const message = error instanceof IronwrightError ? `${error.message}; ${error.next}` : `${plan.directory}: ${reasonOf(error)}`;
      events.record(options.about, "Warning", "BackupFailed", message);
      return undefined;
    }
  }

  return {
    start() {
      loop = run();
    },
    async stop() {
      ending.abort();
      await loop;
    },
  };
}

/** When the newest of this host's backups was taken, by its name. */
function lastOf(directory: string, host: string): Date | undefined {
  const time = /(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.age$/.exec(backupsIn(directory, host).at(-1) ?? "");
  return time ? new Date(`${time[1]}-${time[2]}-${time[3]}T${time[4]}:${time[5]}:${time[6]}Z`) : undefined;
}

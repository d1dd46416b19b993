import { type TimeZone, UTC } from "./time-zone.ts";

/** When something is due: the five fields of cron, as the Go library that Kubernetes and Karpenter use reads them. */
export interface Schedule {
  /** The last moment at or before `at` (ms since the epoch) it was due, not looked for earlier than `since`. */
  last(at: number, since: number): number | undefined;
  /** The next moment after `at`; nothing when there is none within five years. */
  next(at: number): number | undefined;
}

const NEVER: Schedule = { last: () => undefined, next: () => undefined };

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Long enough for every 29 February but one. */
const HORIZON = 5 * 366 * DAY;

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const DESCRIPTORS: ReadonlyMap<string, string> = new Map([
  ["@yearly", "0 0 1 1 *"],
  ["@annually", "0 0 1 1 *"],
  ["@monthly", "0 0 1 * *"],
  ["@weekly", "0 0 * * 0"],
  ["@daily", "0 0 * * *"],
  ["@midnight", "0 0 * * *"],
  ["@hourly", "0 * * * *"],
]);

/** How a schedule is read where the clock is put forward or back; UTC when absent. */
export interface ScheduleZone {
  readonly zone: TimeZone;
  /**
   * `upstream`: what falls into the hour that is left out does not happen, what falls into the hour that comes twice
   * happens twice (robfig/cron, which CronJobs are run by). `once`: every day has each time exactly once: late by what
   * the clock was put forward, or the first of two.
   */
  readonly shifts: "upstream" | "once";
}

const IN_UTC: ScheduleZone = { zone: UTC, shifts: "upstream" };

interface Field {
  readonly values: ReadonlySet<number>;
  /** Written as `*` or `?`. */
  readonly any: boolean;
}

/** Undefined when the text is no schedule. */
export function parseSchedule(text: string, { zone, shifts }: ScheduleZone = IN_UTC): Schedule | undefined {
  const parts = (DESCRIPTORS.get(text.trim()) ?? text.trim()).split(/\s+/);
  if (parts.length !== 5) return undefined;
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = parts;
  const minutes = field(minute, 0, 59);
  const hours = field(hour, 0, 23);
  const days = field(day, 1, 31);
  const months = field(month, 1, 12, MONTHS, 1);
  const weekdays = field(weekday, 0, 6, WEEKDAYS, 0);
  if (!minutes || !hours || !days || !months || !weekdays) return undefined;
  // the 30th of February is told at once, without looking through years for it
  if (weekdays.any && ![...months.values].some((one) => Math.min(...days.values) <= daysOf(one))) return NEVER;
  const isDue = (start: number) => {
    const date = new Date(start);
    if (!months.values.has(date.getUTCMonth() + 1)) return false;
    const byDay = days.values.has(date.getUTCDate());
    const byWeekday = weekdays.values.has(date.getUTCDay());
    // either will do where both are restricted
    return days.any || weekdays.any ? byDay && byWeekday : byDay || byWeekday;
  };
  const times = [...hours.values].flatMap((h) => [...minutes.values].map((m) => (h * 60 + m) * MINUTE)).sort((a, b) => a - b);
  /** The moments of a day on the wall, in order. */
  const momentsOf = (day: number): readonly number[] => {
    if (!isDue(day)) return [];
    const [before, after] = [zone.offset(day - DAY), zone.offset(day + 2 * DAY)];
    if (before === after) return times.map((time) => day + time - before);
    const moments = times.flatMap((time) => {
      const { at, after: late } = zone.moments(day + time);
      if (shifts === "upstream") return at;
      return at[0] ?? late;
    });
    return [...new Set(moments)].sort((a, b) => a - b);
  };
  return {
    last(at, since) {
      const floor = Math.max(since, at - HORIZON);
      // a day on the wall begins and ends up to a day away from one of UTC, and a zone may leave a day out
      for (let start = dayOf(at) + DAY; start + 2 * DAY > floor; start -= DAY) {
        const time = momentsOf(start).findLast((one) => one <= at);
        if (time !== undefined) return time >= floor ? time : undefined;
      }
      return undefined;
    },
    next(at) {
      for (let start = dayOf(at) - DAY; start < at + HORIZON; start += DAY) {
        const time = momentsOf(start).find((one) => one > at);
        if (time !== undefined) return time;
      }
      return undefined;
    },
  };
}

/** The most that a month, counted from 1, has. */
function daysOf(month: number): number {
  return new Date(Date.UTC(2024, month, 0)).getUTCDate();
}

function dayOf(at: number): number {
  return Math.floor(at / DAY) * DAY;
}

function field(text: string, least: number, most: number, names: readonly string[] = [], first = 0): Field | undefined {
  const values = new Set<number>();
  let any = false;
  for (const part of text.split(",")) {
    const [range = "", step, ...more] = part.split("/");
    if (more.length > 0) return undefined;
    const every = step === undefined ? 1 : whole(step);
    if (every === undefined || every < 1) return undefined;
    const star = range === "*" || range === "?";
    any ||= star && step === undefined;
    const ends = star ? [least, most] : range.split("-").map((one) => numberOf(one, names, first));
    const [from, to = step === undefined ? from : most] = ends;
    if (ends.length > 2 || from === undefined || to === undefined || ends.includes(undefined)) return undefined;
    if (from < least || to > most || from > to) return undefined;
    for (let value = from; value <= to; value += every) values.add(value);
  }
  return { values, any };
}

function numberOf(text: string, names: readonly string[], first: number): number | undefined {
  const named = names.indexOf(text.toLowerCase());
  return named >= 0 ? named + first : whole(text);
}

function whole(text: string): number | undefined {
  return /^[0-9]{1,4}$/.test(text) ? Number(text) : undefined;
}

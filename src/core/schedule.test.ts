import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSchedule, type ScheduleZone } from "./schedule.ts";
import { readTimeZone, UTC } from "./time-zone.ts";

describe("schedules", () => {
  test.each([
    ["*/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"],
    ["0 0 29 feb *", "2026-01-01T00:00:00Z", undefined, "2028-02-29T00:00:00Z"],
    ["@hourly", "2026-01-01T00:59:59Z", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"],
    ["30 4 1,15 * 5", "2026-01-03T00:00:00Z", "2026-01-02T04:30:00Z", "2026-01-09T04:30:00Z"],
    ["0 22 * * 1-5", "2026-01-05T12:00:00Z", "2026-01-02T22:00:00Z", "2026-01-05T22:00:00Z"],
    ["5/20 * * * *", "2026-01-01T00:50:00Z", "2026-01-01T00:45:00Z", "2026-01-01T01:05:00Z"],
  ])("%s around %s", (text, now, last, next) => {
    const schedule = parseSchedule(text);
    const moment = Date.parse(now);
    const iso = (ms: number | undefined) => ms && new Date(ms).toISOString().replace(".000", "");
    expect(iso(schedule?.last(moment, moment - 400 * 86_400_000))).toBe(last);
    expect(iso(schedule?.next(moment))).toBe(next);
  });

  test.each([
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 7",
    "5-1 * * * *",
    "*/0 * * * *",
    "a * * * *",
    "1-2-3 * * * *",
    "1//2 * * * *",
    "@never",
    "* * * * * *",
  ])("%j is none", (text) => {
    expect(parseSchedule(text)).toBeUndefined();
  });

  test("the last and the next are due, in order, and nothing is between them", () => {
    const field = (most: number) =>
      fc.oneof(
        fc.constant("*"),
        fc.nat(most).map(String),
        fc.integer({ min: 2, max: 30 }).map((step) => `*/${step}`),
      );
    fc.assert(
      fc.property(field(59), field(23), fc.integer({ min: 0, max: 2 ** 31 }), (minute, hour, seconds) => {
        const schedule = parseSchedule(`${minute} ${hour} * * *`);
        const now = seconds * 1_000;
        const last = schedule?.last(now, now - 3 * 86_400_000) ?? Number.NaN;
        const next = schedule?.next(now) ?? Number.NaN;
        expect(last).toBeLessThanOrEqual(now);
        expect(next).toBeGreaterThan(now);
        expect(schedule?.next(last)).toBe(next);
        expect(schedule?.last(next, 0)).toBe(next);
      }),
    );
  });
});

function inZone(name: string, shifts: ScheduleZone["shifts"]): ScheduleZone {
  return { zone: readTimeZone(name) ?? UTC, shifts };
}

/** The first so many moments after one. */
function moments(text: string, zone: ScheduleZone, from: string, count: number): string[] {
  const schedule = parseSchedule(text, zone);
  const list: string[] = [];
  for (let at = schedule?.next(Date.parse(from)); at !== undefined && list.length < count; at = schedule?.next(at))
    list.push(new Date(at).toISOString().slice(0, 16));
  return list;
}

describe("time zones", () => {
  const BERLIN = inZone("Europe/Berlin", "once");
  const LIKE_CRON_JOBS = inZone("Europe/Berlin", "upstream");

  test("a schedule follows the wall through the year", () => {
    expect(moments("0 7 1 * *", BERLIN, "2026-01-15T00:00:00Z", 4)).toEqual([
      "2026-02-01T06:00",
      "2026-03-01T06:00",
      "2026-04-01T05:00",
      "2026-05-01T05:00",
    ]);
    expect(moments("30 9 * * 1-5", inZone("Asia/Kolkata", "once"), "2026-03-06T12:00:00Z", 2)).toEqual([
      "2026-03-09T04:00",
      "2026-03-10T04:00",
    ]);
  });

  test("the hour that is left out: late once, or not at all as upstream has it", () => {
    expect(moments("30 2 * * *", BERLIN, "2026-03-28T00:00:00Z", 3)).toEqual(["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]);
    expect(moments("30 2 * * *", LIKE_CRON_JOBS, "2026-03-28T00:00:00Z", 2)).toEqual(["2026-03-28T01:30", "2026-03-30T00:30"]);
  });

  test("the hour that comes twice: its first, or both as upstream has it", () => {
    expect(moments("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 2)).toEqual(["2026-10-25T00:30", "2026-10-26T01:30"]);
    expect(moments("30 2 * * *", LIKE_CRON_JOBS, "2026-10-24T12:00:00Z", 2)).toEqual(["2026-10-25T00:30", "2026-10-25T01:30"]);
  });

  test("half-hour shifts, zones far from Greenwich, a day that never was", () => {
    expect(moments("15 2 * * *", inZone("Australia/Lord_Howe", "once"), "2026-10-03T00:00:00Z", 2)).toEqual([
      "2026-10-03T15:45",
      "2026-10-04T15:15",
    ]);
    expect(moments("0 0 * * *", inZone("Pacific/Kiritimati", "once"), "2026-01-01T11:00:00Z", 1)).toEqual(["2026-01-02T10:00"]);
    expect(moments("0 12 * * *", inZone("Pacific/Apia", "upstream"), "2011-12-29T00:00:00Z", 2)).toEqual([
      "2011-12-29T22:00",
      "2011-12-30T22:00",
    ]);
  });

  test.each(["", "Mars/Olympus", "+02:00", "Europe/Berlin; rm", "../etc/passwd", "a".repeat(80)])("%j is no zone", (name) => {
    expect(readTimeZone(name)).toBeUndefined();
  });

  test("in every zone, once: each day has its time exactly once, and last and next agree", () => {
    const zones = ["Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Tehran", "Australia/Lord_Howe", "Africa/Cairo", "UTC"];
    const instant = fc.integer({ min: Date.UTC(2015, 0, 1), max: Date.UTC(2030, 0, 1) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.nat(23), fc.nat(59), instant, (name, hour, minute, from) => {
        const schedule = parseSchedule(`${minute} ${hour} * * *`, inZone(name, "once"));
        const first = schedule?.next(from) ?? Number.NaN;
        const second = schedule?.next(first) ?? Number.NaN;
        expect(second - first).toBeGreaterThanOrEqual(22.5 * 3_600_000);
        expect(second - first).toBeLessThanOrEqual(25.5 * 3_600_000);
        expect(schedule?.last(second - 1, 0)).toBe(first);
        expect(schedule?.last(second, 0)).toBe(second);
      }),
      { numRuns: 300 },
    );
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { type CronJob, dueAt, nextCronJob } from "./cron-jobs.ts";

const NOW = Date.parse("2026-03-04T12:00:30Z");

function job(schedule: string, more: Partial<CronJob["spec"]> = {}, last = "2026-03-04T11:00:00Z", name = "j"): CronJob {
  const born = "2026-03-01T00:00:00Z";
  return {
    metadata: { name, namespace: "n", creationTimestamp: born },
    spec: { schedule, ...more },
    status: last === "never" ? {} : { lastScheduleTime: last },
  };
}

const iso = (ms: number | undefined) => ms && new Date(ms).toISOString().slice(0, 19);

test.each<[CronJob, string | undefined]>([
  [job("0 13 * * *"), "2026-03-04T13:00:00"],
  // missed: it is due now
  [job("30 11 * * *"), "2026-03-04T11:30:00"],
  [job("30 11 * * *", { startingDeadlineSeconds: 600 }), "2026-03-05T11:30:00"],
  [job("55 11 * * *", { startingDeadlineSeconds: 600 }), "2026-03-04T11:55:00"],
  [job("*/30 * * * *", { startingDeadlineSeconds: 60 }), "2026-03-04T12:00:00"],
  [job("0 12 * * *", { startingDeadlineSeconds: 0 }), "2026-03-05T12:00:00"],
  [job("0 13 * * *", { timeZone: "America/New_York" }), "2026-03-04T18:00:00"],
  [job("0 13 * * *", { timeZone: "Mars/Olympus" }), undefined],
  [job("0 13 * * *", { suspend: true }), undefined],
  [job("now and then"), undefined],
  [job("0 0 30 2 *"), undefined],
  [job("@hourly", {}, "2026-03-04T12:00:00Z"), "2026-03-04T13:00:00"],
  [job("@every 90m"), "2026-03-04T12:30:00"],
  [job("@every soon"), undefined],
  // never run: since it was made
  [job("0 6 * * *", {}, "never"), "2026-03-01T06:00:00"],
  // a status from the future
  [job("0 13 * * *", {}, "2027-01-01T00:00:00Z"), "2026-03-04T13:00:00"],
])("%j", (one, due) => {
  expect(iso(dueAt(one, NOW))).toBe(due);
});

test("the first of them, by name; those on their way out do not count", () => {
  const gone = job("1 12 * * *", {}, "2026-03-04T11:00:00Z", "gone");
  const jobs = [job("0 14 * * *", {}, "2026-03-04T11:00:00Z", "late"), job("0 13 * * *", {}, "2026-03-04T11:00:00Z", "soon")];
  expect(nextCronJob([...jobs, { ...gone, metadata: { ...gone.metadata, deletionTimestamp: "2026-03-04T12:00:00Z" } }], NOW)).toEqual({
    name: "n/soon",
    at: Date.parse("2026-03-04T13:00:00Z"),
  });
  expect(nextCronJob([], NOW)).toBeUndefined();
});

test("nothing that a tenant can write throws, or is due before it was made", () => {
  const text = fc.oneof(fc.string(), fc.constantFrom("* * * * *", "*/7 3 * * 1", "@every 5m", "0 2 * * *"));
  fc.assert(
    fc.property(
      text,
      fc.oneof(fc.constant(undefined), fc.string(), fc.constant("Europe/Berlin")),
      fc.option(fc.integer()),
      fc.date(),
      (schedule, timeZone, deadline, born) => {
        const one: CronJob = {
          metadata: { name: "j", creationTimestamp: Number.isNaN(born.getTime()) ? "?" : born.toISOString() },
          spec: { schedule, startingDeadlineSeconds: deadline, ...(timeZone === undefined ? {} : { timeZone }) },
        };
        const due = dueAt(one, NOW);
        if (due !== undefined)
          expect(due).toBeGreaterThan(Number.isNaN(born.getTime()) ? NOW : Math.min(Math.floor(born.getTime() / 1_000) * 1_000, NOW));
      },
    ),
  );
});

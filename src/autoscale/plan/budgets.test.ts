import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allowedBy, budgetProblem, nextChange } from "./budgets.ts";
import { parseSchedule } from "./schedule.ts";
import type { Budget } from "./world.ts";

const at = (text: string) => Date.parse(text) / 1_000;
const TEN = at("2026-03-04T10:00:00Z");
const OFFICE = { schedule: "0 9 * * mon-fri", durationS: 8 * 3_600 };

test.each<[readonly Budget[], number, number]>([
  [[{ nodes: "50%" }], 5, 3],
  [[{ nodes: "10%" }], 1, 1],
  [[{ nodes: "50%" }, { nodes: "1" }], 5, 1],
  [[{ nodes: "0", reasons: ["Drifted"] }, { nodes: "4" }], 5, 4],
  [[{ nodes: "0", ...OFFICE }], 5, 0],
  [[{ nodes: "0", ...OFFICE, schedule: "0 9 * * sat,sun" }, { nodes: "2" }], 5, 2],
  [[{ nodes: "lots" }], 5, 0],
  [[{ nodes: "101%" }], 5, 0],
  [[{ nodes: "5", schedule: "now and then", durationS: 60 }], 5, 0],
  [[{ nodes: "5", schedule: "0 9 * * *" }], 5, 0],
  [[{ nodes: "5", durationS: 60 }], 5, 0],
  [[{ nodes: "5", schedule: "0 9 * * *", durationS: Number.NaN }], 5, 0],
  [[{ nodes: "10" }], 5, 5],
  [[], 5, 5],
])("%j of %d nodes allow %d", (budgets, nodes, most) => {
  expect(allowedBy(budgets, "Empty", nodes, TEN)).toBe(most);
});

test("a window is over when its duration is", () => {
  const budgets = [{ nodes: "0", ...OFFICE }];
  const most = (text: string) => allowedBy(budgets, "Empty", 3, at(text));
  expect([most("2026-03-04T08:59:59Z"), most("2026-03-04T09:00:00Z"), most("2026-03-04T16:59:59Z"), most("2026-03-04T17:00:00Z")]).toEqual([
    3, 0, 0, 3,
  ]);
});

test("nobody who says no time gets more than a schedule might forbid", () => {
  expect(allowedBy([{ nodes: "3", ...OFFICE }], "Empty", 3, undefined)).toBe(0);
});

test("when to look again", () => {
  expect(nextChange([{ nodes: "0", ...OFFICE }], TEN)).toBe(at("2026-03-04T17:00:00Z"));
  expect(nextChange([{ nodes: "0", ...OFFICE }], at("2026-03-06T18:00:00Z"))).toBe(at("2026-03-09T09:00:00Z"));
  expect(nextChange([{ nodes: "1" }], TEN)).toBeUndefined();
});

test("what is wrong with a budget is said", () => {
  expect(budgetProblem({ nodes: "some" })).toContain("nodes");
  expect(budgetProblem({ nodes: "1", schedule: "@daily" })).toContain("goes together");
  expect(budgetProblem({ nodes: "1", schedule: "60 * * * *", durationS: 1 })).toContain("schedule");
  expect(budgetProblem({ nodes: "1", ...OFFICE })).toBeUndefined();
});

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

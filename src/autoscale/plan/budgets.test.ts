import { expect, test } from "vitest";
import { allowedBy, budgetProblem, nextChange } from "./budgets.ts";
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

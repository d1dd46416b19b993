import { expect, test } from "vitest";
import { closedTo } from "./node-port.ts";

test.each([
  ["10.77.0.11", "awake", undefined],
  ["127.0.0.1", "asleep", "asleep"],
  ["10.77.0.11", "asleep", "asleep"],
  ["10.77.0.11", "opening", "opening"],
  ["::ffff:10.77.0.11", "opening", "opening"],
  [undefined, "opening", "opening"],
  ["127.0.0.1", "opening", undefined],
  ["::ffff:127.0.0.1", "opening", undefined],
] as const)("from %s at one that is %s: %s", (from, state, refusal) => {
  expect(closedTo(from, state)).toBe(refusal);
});

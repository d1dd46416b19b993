import { expect, test } from "vitest";
import { HISTORY_PACE, windowIsOver } from "./history.ts";

const MINUTE = 60_000;
const MIB = 2 ** 20;

test.each<[string, { ageMs: number; writes: number; bytes: number }, boolean]>([
  ["young, however much was written", { ageMs: 5 * MINUTE - 1, writes: 1e6, bytes: 400 * MIB }, false],
  ["old enough, with little written", { ageMs: 5 * MINUTE, writes: 4_999, bytes: 16 * MIB - 1 }, false],
  ["old enough, with many writes", { ageMs: 5 * MINUTE, writes: 5_000, bytes: 0 }, true],
  ["old enough, with large writes", { ageMs: 5 * MINUTE, writes: 20, bytes: 16 * MIB }, true],
  ["an hour old, with nothing written", { ageMs: 60 * MINUTE, writes: 0, bytes: 0 }, true],
])("a window that is %s", (_, window, over) => {
  expect(windowIsOver(window, HISTORY_PACE)).toBe(over);
});

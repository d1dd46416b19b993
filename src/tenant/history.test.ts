import { expect, test } from "vitest";
import { HISTORY_PACE, type HistoryWindow, windowIsOver } from "./history.ts";

const MINUTE = 60_000;
const MIB = 2 ** 20;
const LITTLE: HistoryWindow = { ageMs: 5 * MINUTE, writes: 4_999, bytes: 16 * MIB - 1, usedShare: 0.24 };

test.each<[string, HistoryWindow, boolean]>([
  ["young, however much was written", { ageMs: 5 * MINUTE - 1, writes: 1e6, bytes: 400 * MIB, usedShare: 0.5 }, false],
  ["old enough, with little written", LITTLE, false],
  ["old enough, with many writes", { ...LITTLE, writes: 5_000 }, true],
  ["old enough, with large writes", { ...LITTLE, writes: 20, bytes: 16 * MIB }, true],
  ["old enough, in a shard with little room", { ...LITTLE, writes: 20, bytes: 0, usedShare: 0.25 }, true],
  ["an hour old, with nothing written", { ageMs: 60 * MINUTE, writes: 0, bytes: 0, usedShare: 0 }, true],
  ["to begin only, by a clock that was put back", { ageMs: -1, writes: 0, bytes: 0, usedShare: 0 }, true],
])("a window that is %s", (_, window, over) => {
  expect(windowIsOver(window, HISTORY_PACE)).toBe(over);
});

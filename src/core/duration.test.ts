import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDuration, parseDuration } from "./duration.ts";

test.each([
  ["0s", 0],
  ["30s", 30_000],
  ["1h30m", 5_400_000],
  ["720h", 2_592_000_000],
  ["Never", Number.POSITIVE_INFINITY],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "5", "-5s", "1.5h", "5d", "never", "5s ", "1h 5m", `${"9".repeat(40)}h`])("%j is no duration", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test("formatting and parsing agree on whole seconds", () => {
  fc.assert(fc.property(fc.nat(10_000_000), (s) => parseDuration(formatDuration(s * 1_000)) === s * 1_000));
  expect(formatDuration(Number.POSITIVE_INFINITY)).toBe("Never");
});

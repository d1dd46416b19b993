import { expect, test } from "vitest";
import { age, bytes, plain, span, table } from "./print.ts";

test("columns line up and no line ends in spaces", () => {
  expect(
    table(
      ["NAME", "PHASE"],
      [
        ["bios-1", "Available"],
        ["u", ""],
      ],
    ),
  ).toBe("NAME     PHASE\nbios-1   Available\nu");
});

test.each([
  [45, "45s"],
  [119, "119s"],
  [150, "2m30s"],
  [3_599, "59m"],
  [7_200, "120m"],
  [100_000, "27h"],
  [200_000, "2d"],
])("%d seconds are %s", (seconds, text) => expect(span(seconds)).toBe(text));

test("the age of what has no time is unknown, and never negative", () => {
  const now = new Date("2026-01-01T00:00:10Z");
  expect(age(undefined, now)).toBe("<unknown>");
  expect(age("2026-01-01T00:00:20Z", now)).toBe("0s");
});

test.each([
  [512, "512 B"],
  [1536 * 1024 * 1024, "1.5 GiB"],
  [8 * 1024 ** 3, "8 GiB"],
])("%d bytes are %s", (count, text) => expect(bytes(count)).toBe(text));

test("what a terminal would obey is not printed", () => {
  expect(plain("a\tb\nc\u001b[2Jd\u009b1me\r\u0007")).toBe("a\tb\nc�[2Jd�1me��");
});

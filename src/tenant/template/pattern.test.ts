import fc from "fast-check";
import { expect, test } from "vitest";
import { readPattern } from "./pattern.ts";

function matches(source: string, text: string): boolean {
  const pattern = readPattern(source);
  if (typeof pattern === "string") throw new Error(pattern);
  return pattern.matches(text);
}

test.each([
  ["[a-z]+", "abc", true],
  ["[a-z]+", "abc1", false],
  ["^team-(a|b)$", "team-b", true],
  ["team-(?:a|b|)", "team-", true],
  ["\\d{3}", "12", false],
  ["\\d{2,}", "1234", true],
  ["a{0,2}b?", "aa", true],
  ["[^/]*", "a/b", false],
  ["[]a]+", "]a", true],
  ["[a-]+", "a-", true],
  ["a\\.b", "axb", false],
  [".", "é", true],
  ["", "", true],
  ["", "x", false],
  ["(ab|a)(bc|c)?", "abc", true],
])("%s of %j: %s", (source, text, is) => {
  expect(matches(source, text)).toBe(is);
});

test.each([
  "(",
  "a)",
  "[",
  "[a",
  "*",
  "a**",
  "a{2",
  "a{3,1}",
  "a{9999}",
  "(?=a)",
  "(?<n>a)",
  "\\1",
  "\\bword",
  "a^b",
  "[z-a]",
  "\\",
  "(a{1000}){1000}",
  "(".repeat(99),
])("%s is none, and it says why", (source) => {
  expect(readPattern(source)).toEqual(expect.any(String));
});

test("it agrees with JavaScript's own, on what both know", () => {
  const atom = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\d", "(a|b)", "(ab|c)", "(a|)");
  const piece = fc.tuple(atom, fc.constantFrom("", "", "*", "+", "?", "{2}", "{1,3}", "{1,}")).map(([one, times]) => one + times);
  const source = fc.array(piece, { maxLength: 5 }).map((all) => all.join(""));
  const text = fc.array(fc.constantFrom("a", "b", "c", "1"), { maxLength: 10 }).map((all) => all.join(""));
  fc.assert(
    fc.property(source, text, (one, other) => {
      expect(matches(one, other)).toBe(new RegExp(`^(?:${one})$`).test(other));
    }),
    { numRuns: 2_000 },
  );
});

test("no pattern is slow, and none throws", () => {
  const began = performance.now();
  expect(matches("(a+)+b", "a".repeat(1_000))).toBe(false);
  expect(matches("(a|aa)*c", "a".repeat(1_000))).toBe(false);
  expect(performance.now() - began).toBeLessThan(2_000);
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."ab()[]{}|*+?\\^$-,1.") }), (source) => {
      const pattern = readPattern(source);
      if (typeof pattern !== "string") pattern.matches("ab1");
    }),
    { numRuns: 2_000 },
  );
});

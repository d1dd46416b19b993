import { expect, test } from "vitest";
import { codes, explain, IronwrightError, isError } from "./errors.ts";

test("an error says what, where and what next", () => {
  const error = new IronwrightError("IRW_BMC_UNREACHABLE", { address: "10.0.0.9", reason: "connect timed out" });
  expect(error.message).toContain("10.0.0.9");
  expect(error.next).toContain("cable");
  expect(isError(error, "IRW_BMC_UNREACHABLE")).toBe(true);
  expect(isError(error, "IRW_FENCE_LOST")).toBe(false);
});

test.each(codes)("%s explains itself: a sentence with its facts, and a next step", (code) => {
  const found = explain(code);
  expect(found?.says.length).toBeGreaterThan(10);
  expect(found?.says).toMatch(/‹\w+›/);
  expect(found?.says).not.toContain("undefined");
  expect(found?.next.length).toBeGreaterThan(10);
});

test("a code that does not exist is not explained, nor is a property every object has", () => {
  expect(explain("IRW_NOT_A_CODE")).toBeUndefined();
  expect(explain("toString")).toBeUndefined();
});

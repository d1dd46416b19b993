import { expect, test } from "vitest";
import { textOf } from "./join.ts";

test("a tenant's text is cut and holds nothing that moves a terminal", () => {
  expect(textOf("x".repeat(100_000))).toHaveLength(300);
  expect(textOf("container\u001b[2J runtime\r\nis down\u202e")).toBe("container [2J runtime  is down ");
  expect(textOf("ü…\ud83d")).toBe("ü… ");
  expect(textOf(undefined)).toBeUndefined();
});

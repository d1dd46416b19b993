import fc from "fast-check";
import { expect, test } from "vitest";
import { permissionsOf, rangeOf } from "./shard.ts";

function holds(uid: string, key: string): boolean {
  const { first, end } = rangeOf(uid);
  return Buffer.compare(Buffer.from(key), Buffer.from(first)) >= 0 && Buffer.compare(Buffer.from(key), Buffer.from(end)) < 0;
}

test.each(["a", "aa", "a-", "a.", "a0", "a/", "b", "A", ""])("the range of tenant a holds nothing of tenant %j but its own", (other) => {
  expect(holds("a", `/${other}/secrets/x`)).toBe(other === "a" || other === "a/");
});

test("two uids' ranges have no key in common", () => {
  fc.assert(
    fc.property(fc.uuid(), fc.uuid(), fc.string(), (one, other, rest) => {
      fc.pre(one !== other);
      expect(holds(one, `/${one}/${rest}`)).toBe(true);
      expect(holds(one, `/${other}/${rest}`)).toBe(false);
    }),
  );
});

test("writing is for the range alone", () => {
  const writable = permissionsOf("a").filter((one) => one.kind !== "READ");
  expect(writable).toEqual([{ kind: "READWRITE", first: "/a/", end: "/a0" }]);
});

test("one that is stopped may read its range, and write nothing", () => {
  expect(permissionsOf("a", false).every((one) => one.kind === "READ")).toBe(true);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { BUDGET_BYTES, type DatastoreWish, isShared, type Placement, place } from "./placement.ts";

const LIMITS = { tenantsPerShard: 3, quotaBytes: 100 };

function placeAll(wishes: readonly (readonly [id: string, wish: DatastoreWish])[]): Map<string, Placement> {
  const placed = new Map<string, Placement>();
  for (const [id, wish] of wishes) {
    const shards = [...new Set([...placed.values()].map((one) => one.shard))];
    placed.set(id, place(id, wish, LIMITS, placed, shards));
  }
  return placed;
}

test("shards fill up one after the other", () => {
  const placed = placeAll(["a", "b", "c", "d"].map((id) => [id, {}]));
  expect([...placed.values()].map((one) => one.shard)).toEqual(["shard-0", "shard-0", "shard-0", "shard-1"]);
});

test("the fullest with room is next, so that the others empty out; a number that is free is used again", () => {
  const placed = placeAll(["a", "b", "c", "d", "e", "f", "g"].map((id) => [id, {}]));
  placed.delete("a");
  for (const id of ["d", "e"]) placed.delete(id);
  expect(place("h", {}, LIMITS, placed, ["shard-1", "shard-0", "shard-2"]).shard).toBe("shard-0");
  expect(place("h", {}, { ...LIMITS, tenantsPerShard: 1 }, placed, ["shard-0", "shard-2", "shard-1"]).shard).toBe("shard-3");
  expect(place("h", {}, { ...LIMITS, tenantsPerShard: 1 }, placed, ["shard-0", "shard-2"]).shard).toBe("shard-1");
});

test("quotas count, too: what would promise more than an etcd holds goes elsewhere", () => {
  const placed = placeAll([
    ["a", { quotaBytes: BUDGET_BYTES * 0.6 }],
    ["b", { quotaBytes: BUDGET_BYTES * 0.6 }],
    ["c", {}],
  ]);
  expect([...placed.values()].map((one) => one.shard)).toEqual(["shard-0", "shard-1", "shard-0"]);
});

test("no tenant's neighbours and quotas are ever more than a shard bears, and nobody moves", () => {
  const wish = fc.record({
    kind: fc.constantFrom("shared", "dedicated", undefined),
    quotaBytes: fc.constantFrom(undefined, 1, BUDGET_BYTES / 2),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/), wish), { maxLength: 30 }), (wishes) => {
      const distinct = [...new Map(wishes.filter(([id]) => id !== "root"))].map(
        ([id, { kind, quotaBytes }]) => [id, { ...(kind ? { kind } : {}), ...(quotaBytes ? { quotaBytes } : {}) }] as const,
      );
      const placed = placeAll(distinct);
      for (const shard of new Set([...placed.values()].map((one) => one.shard))) {
        const there = [...placed.values()].filter((one) => one.shard === shard);
        expect(there.length).toBeLessThanOrEqual(isShared(shard) ? LIMITS.tenantsPerShard : 1);
        expect(there.reduce((sum, one) => sum + one.quotaBytes, 0)).toBeLessThanOrEqual(BUDGET_BYTES);
      }
      for (const [id, { shard }] of placed) expect(place(id, {}, LIMITS, placed, []).shard).toBe(shard);
    }),
  );
});

test.each(["", "root", "../a", "a/b", "A", "a b", "-a", `a${"b".repeat(63)}`])("%j names no tenant", (id) => {
  expect(() => place(id, {}, LIMITS, new Map(), [])).toThrow(expect.objectContaining({ code: "IRW_DATASTORE_REFUSED" }));
});

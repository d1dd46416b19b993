import fc from "fast-check";
import { expect, test } from "vitest";
import { createFreeSet } from "./free-set.ts";

test("is what a plain set would be, whatever is taken and given back", () => {
  const step = fc.record({ act: fc.constantFrom("take", "giveBack", "any"), value: fc.integer({ min: 8, max: 22 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const free = createFreeSet(10, 20);
      const model = new Set([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
      for (const { act, value } of steps) {
        if (act === "take") expect(free.take(value)).toBe(model.delete(value));
        if (act === "giveBack") {
          free.giveBack(value);
          if (value >= 10 && value <= 20) model.add(value);
        }
        const one = free.any(value);
        expect(one === undefined ? model.size === 0 : model.has(one)).toBe(true);
        expect(free.any(value)).toBe(one);
        expect(free.count).toBe(model.size);
        for (let at = 8; at <= 22; at++) expect(free.has(at)).toBe(model.has(at));
      }
    }),
    { numRuns: 300 },
  );
});

test("gives the seed's own place where that is free", () => {
  const free = createFreeSet(100, 199);
  expect(free.any(7)).toBe(107);
  free.take(107);
  expect(free.any(7)).not.toBe(107);
});

test("a range of sixteen million takes no time or memory of its own", () => {
  const free = createFreeSet(0x0a000000, 0x0affffff);
  expect(free.count).toBe(1 << 24);
  expect(free.take(0x0a000005)).toBe(true);
  expect(free.has(0x0a000005)).toBe(false);
});

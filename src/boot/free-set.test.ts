import fc from "fast-check";
import { expect, test } from "vitest";
import { createFreeSet } from "./free-set.ts";

/** Within one word, at the end of one, over several, and over more than one level. */
test.each([11, 32, 70, 1025, 1100])("is what a plain set would be, whatever is taken and given back, of %d numbers", (size) => {
  const [from, to] = [10, 9 + size];
  const value = fc.oneof(fc.integer({ min: from - 2, max: to + 2 }), fc.integer({ min: to - 2, max: to + 2 }));
  const act = fc.constantFrom("take", "giveBack", "any");
  const step = fc.record({ act, value, many: fc.integer({ min: 1, max: size }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const free = createFreeSet(from, to);
      const model = new Set(Array.from({ length: size }, (_, at) => from + at));
      for (const { act, value, many } of steps) {
        for (let one = value; one < value + many; one++) {
          if (act === "take") expect(free.take(one)).toBe(model.delete(one));
          if (act === "giveBack") {
            free.giveBack(one);
            if (one >= from && one <= to) model.add(one);
          }
        }
        const one = free.any(value);
        expect(one === undefined ? model.size === 0 : model.has(one)).toBe(true);
        expect(free.any(value)).toBe(one);
        expect(free.count).toBe(model.size);
        for (let at = from - 2; at <= to + 2; at++) if (free.has(at) !== model.has(at)) expect(at).toBe("what the model says");
      }
    }),
    { numRuns: 60 },
  );
});

test("gives the seed's own place where that is free", () => {
  const free = createFreeSet(100, 199);
  expect(free.any(7)).toBe(107);
  free.take(107);
  expect(free.any(7)).not.toBe(107);
});

test("a range of sixteen million takes no time of its own", () => {
  const free = createFreeSet(0x0a000000, 0x0affffff);
  expect(free.count).toBe(1 << 24);
  expect(free.take(0x0a000005)).toBe(true);
  expect(free.has(0x0a000005)).toBe(false);
  expect(free.any(5)).toBe(0x0a000006);
});

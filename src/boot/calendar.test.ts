import fc from "fast-check";
import { expect, test } from "vitest";
import { createCalendar } from "./calendar.ts";

const MINUTE = 60_000;

test("names what expired longest ago, to the minute, and nothing that has not", () => {
  const entry = fc.tuple(fc.nat(20), fc.nat(100));
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), fc.nat(120), (entries, minute) => {
      const calendar = createCalendar();
      const model = new Map<number, number>();
      for (const [key, expires] of entries) {
        if (expires % 10 === 0) {
          calendar.delete(key);
          model.delete(key);
        } else {
          calendar.set(key, expires * MINUTE);
          model.set(key, expires);
        }
      }
      expect(calendar.size).toBe(model.size);
      const due = [...model].filter(([, expires]) => expires <= minute);
      const oldest = Math.min(...due.map(([, expires]) => expires));
      const one = calendar.expired(minute * MINUTE, () => true);
      if (due.length === 0) expect(one).toBeUndefined();
      else expect(model.get(one ?? -1)).toBe(oldest);
    }),
    { numRuns: 300 },
  );
});

test("what does not fit is passed over for an hour, and looked at again", () => {
  const calendar = createCalendar();
  calendar.set(1, 10 * MINUTE);
  calendar.set(2, 20 * MINUTE);
  expect(calendar.expired(30 * MINUTE, (key) => key === 2)).toBe(2);
  expect(calendar.expired(30 * MINUTE, (key) => key === 1)).toBeUndefined();
  expect(calendar.expired(91 * MINUTE, (key) => key === 1)).toBe(1);
});

test("years without a lease are not counted through minute by minute", () => {
  const calendar = createCalendar();
  calendar.set(1, 0);
  const looks: number[] = [];
  expect(calendar.expired(50 * 365 * 24 * 60 * MINUTE, (key) => looks.push(key) > 1)).toBeUndefined();
  expect(calendar.expired(51 * 365 * 24 * 60 * MINUTE, () => true)).toBe(1);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { lifetime } from "./lifetime.ts";

const HOUR = 3_600_000;

test.each([
  [0, "fresh", 71 * HOUR],
  [71 * HOUR - 1, "fresh", 71 * HOUR],
  [71 * HOUR, "warned", 72 * HOUR],
  [72 * HOUR, "expired", undefined],
  [100 * HOUR, "expired", undefined],
] as const)("72 hours at %d: %s", (now, is, lookAgainAt) => {
  expect(lifetime(0, 72 * HOUR, now)).toMatchObject({
    expiresAt: 72 * HOUR,
    now: is,
    ...(lookAgainAt === undefined ? {} : { lookAgainAt }),
  });
});

test("a short one is warned in its last quarter", () => {
  expect(lifetime(0, 60_000, 45_000).now).toBe("warned");
  expect(lifetime(0, 60_000, 44_999)).toMatchObject({ now: "fresh", lookAgainAt: 45_000 });
});

test("it is warned before it ends, and who looks again when told misses nothing", () => {
  fc.assert(
    fc.property(fc.integer({ min: 60_000, max: 1_000 * HOUR }), (ttl) => {
      const seen: string[] = [];
      for (let now: number | undefined = 0; now !== undefined; ) {
        const life = lifetime(0, ttl, now);
        seen.push(life.now);
        if (life.lookAgainAt !== undefined) expect(life.lookAgainAt).toBeGreaterThan(now);
        now = life.lookAgainAt;
      }
      expect(seen).toEqual(["fresh", "warned", "expired"]);
    }),
  );
});

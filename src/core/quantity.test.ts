import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  add,
  formatQuantity,
  formatResources,
  ONE,
  parseQuantity,
  parseResources,
  quantity,
  shortOf,
  subtract,
  timesFitting,
} from "./quantity.ts";

describe("parse", () => {
  test.each([
    ["0", 0n],
    ["1", ONE],
    ["1500m", 1_500_000_000n],
    ["1.5", 1_500_000_000n],
    [".5", 500_000_000n],
    ["5.", 5n * ONE],
    ["+2", 2n * ONE],
    ["-100m", -100_000_000n],
    ["1Ki", 1024n * ONE],
    ["1.5Gi", 1_610_612_736n * ONE],
    ["0.1Ki", 102_400_000_000n],
    ["2e3", 2000n * ONE],
    ["2E3", 2000n * ONE],
    ["1E", 10n ** 18n * ONE],
    ["1e-3", 1_000_000n],
    ["1n", 1n],
    ["0.1n", 1n],
    ["-0.1n", -1n],
    ["100E", (2n ** 63n - 1n) * ONE],
    ["1000000000000000000000", (2n ** 63n - 1n) * ONE],
    [4, 4n * ONE],
    [0.25, 250_000_000n],
  ])("%s", (text, nano) => {
    expect(parseQuantity(text)).toBe(nano);
  });

  test.each(["", ".", "-", "m", "1K", "1 Gi", "1.2.3", "0x10", "1e", "1e999999999", "NaN", "1MiB", "9".repeat(500)])(
    "%j is none",
    (text) => {
      expect(parseQuantity(text)).toBeUndefined();
    },
  );

  test("a text that should have been validated throws", () => {
    expect(() => quantity("lots")).toThrow("lots");
  });
});

describe("format", () => {
  test.each([
    ["1000m", "1", "1"],
    ["1500m", "1500m", "1500m"],
    ["1024", "1024", "1Ki"],
    ["1536Mi", "1610612736", "1536Mi"],
    ["2Gi", "2147483648", "2Gi"],
    ["1000", "1k", "1k"],
    ["0.5Ki", "512", "512"],
    ["-3Ki", "-3072", "-3Ki"],
    ["1.0000000001Gi", "1073741824107374183n", "1073741824107374183n"],
  ])("%s", (text, decimal, binary) => {
    expect(formatQuantity(quantity(text))).toBe(decimal);
    expect(formatQuantity(quantity(text), "binary")).toBe(binary);
  });

  test("parse undoes format, in both styles", () => {
    const nano = fc.bigInt({ min: -(2n ** 63n - 1n) * ONE, max: (2n ** 63n - 1n) * ONE });
    fc.assert(
      fc.property(nano, fc.constantFrom("decimal" as const, "binary" as const), (value, style) => {
        expect(parseQuantity(formatQuantity(value, style))).toBe(value);
      }),
    );
  });

  test("the same amount has one text, however it was written", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), (n) => {
        expect(formatQuantity(quantity(`${n}000m`))).toBe(formatQuantity(quantity(`${n}`)));
        expect(formatQuantity(quantity(`${n}Ki`), "binary")).toBe(formatQuantity(quantity(`${n * 1024}`), "binary"));
      }),
    );
  });
});

describe("resource lists", () => {
  const small = fc.dictionary(fc.constantFrom("cpu", "memory", "nvidia.com/gpu", "__proto__"), fc.nat(50).map(String)).map(parseResources);

  test("adding and taking away are inverse", () => {
    fc.assert(
      fc.property(small, small, (a, b) => {
        for (const [name, amount] of subtract(add(a, b), b)) expect(amount).toBe(a.get(name) ?? 0n);
      }),
    );
  });

  test("what fits n times leaves nothing short after n times, and is short after one more", () => {
    fc.assert(
      fc.property(small, small, fc.integer({ min: 0, max: 100 }), (free, wanted, most) => {
        let rest = free;
        const times = timesFitting(free, wanted, most);
        for (let n = 0; n < times; n += 1) {
          expect(shortOf(rest, wanted)).toEqual([]);
          rest = subtract(rest, wanted);
        }
        if (times < most) expect(shortOf(rest, wanted)).not.toEqual([]);
      }),
    );
  });

  test("memory is written in binary, the rest in decimal", () => {
    expect(formatResources(parseResources({ memory: "1536Mi", cpu: "2000m", "nvidia.com/gpu": 2 }))).toEqual({
      cpu: "2",
      memory: "1536Mi",
      "nvidia.com/gpu": "2",
    });
  });
});

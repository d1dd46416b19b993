import fc from "fast-check";
import { expect, test } from "vitest";
import { entityTag, fileAnswer, readRange } from "./http-conditions.ts";

const modified = new Date("2026-11-21T06:00:00.500Z");
const file = { path: "/boot/kernel", size: 1000, modified, version: "1-3e8-5" };
const tag = entityTag(file);
const date = "Sat, 21 Nov 2026 06:00:00 GMT";
const later = "Sat, 21 Nov 2026 06:00:01 GMT";
const earlier = "Sat, 21 Nov 2026 05:59:59 GMT";

test.each([
  ["bytes=0-9", 100, { from: 0, to: 9 }],
  ["bytes=-10", 100, { from: 90, to: 99 }],
  ["bytes=-200", 100, { from: 0, to: 99 }],
  ["bytes=50-500", 100, { from: 50, to: 99 }],
  ["bytes=9-1", 100, "whole"],
  ["bytes=0-1,5-6", 100, "whole"],
  ["items=0-1", 100, "whole"],
  ["bytes=100-", 100, "unsatisfiable"],
  ["bytes=-0", 100, "unsatisfiable"],
  ["bytes=0-0", 0, "unsatisfiable"],
] as const)("range %s of %i", (header, size, range) => {
  expect(readRange(header, size)).toEqual(range);
});

test.each([
  [{}, 200],
  [{ range: "bytes=0-9" }, 206],
  [{ range: "bytes=-9" }, 206],
  [{ range: "bytes=1000-" }, 416],
  [{ "if-none-match": tag }, 304],
  [{ "if-none-match": `"other", W/${tag}` }, 304],
  [{ "if-none-match": "*" }, 304],
  [{ "if-none-match": '"other"', "if-modified-since": date }, 200],
  [{ "if-modified-since": date }, 304],
  [{ "if-modified-since": earlier }, 200],
  [{ "if-modified-since": "yesterday" }, 200],
  [{ "if-match": tag }, 200],
  [{ "if-match": `W/${tag}` }, 412],
  [{ "if-match": '"other"' }, 412],
  [{ "if-unmodified-since": date }, 200],
  [{ "if-unmodified-since": earlier }, 412],
  [{ range: "bytes=0-9", "if-range": tag }, 206],
  [{ range: "bytes=0-9", "if-range": `W/${tag}` }, 200],
  [{ range: "bytes=0-9", "if-range": '"other"' }, 200],
  [{ range: "bytes=0-9", "if-range": date }, 206],
  [{ range: "bytes=0-9", "if-range": later }, 200],
  [{ range: "bytes=1000-", "if-range": '"other"' }, 200],
])("%j is answered %i", (headers, status) => {
  expect(fileAnswer(headers, file).status).toBe(status);
});

test("a part is never outside the file, and its headers say what it is", () => {
  const end = fc.option(fc.nat(3000), { nil: "" });
  fc.assert(
    fc.property(fc.nat(2000), end, end, (size, first, last) => {
      const { status, headers, offset, length } = fileAnswer({ range: `bytes=${first}-${last}` }, { ...file, size });
      expect(offset + length).toBeLessThanOrEqual(size);
      if (status === 416) expect([headers["content-range"], length]).toEqual([`bytes */${size}`, 0]);
      else expect(headers["content-length"]).toBe(length);
      if (status === 206) expect(headers["content-range"]).toBe(`bytes ${offset}-${offset + length - 1}/${size}`);
    }),
    { numRuns: 1000 },
  );
});

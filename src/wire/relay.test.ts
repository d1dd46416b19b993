import fc from "fast-check";
import { expect, test } from "vitest";
import { parseIpv4, parseNetwork } from "./address.ts";
import { parseRelayInformation } from "./relay.ts";
import { classlessRoutes, prefixLength } from "./routes.ts";

const value = fc.uint8Array({ maxLength: 40 });
const subOptions = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 255 }), value), { selector: ([code]) => code, maxLength: 6 });
const written = (list: readonly (readonly [number, Uint8Array])[]) =>
  Uint8Array.from(list.flatMap(([code, bytes]) => [code, bytes.length, ...bytes]));

test("what a relay wrote is read, in whatever order, and what nobody knows is passed over", () => {
  fc.assert(
    fc.property(subOptions, (list) => {
      const of = (code: number) => list.find(([one]) => one === code)?.[1];
      const read = parseRelayInformation(written(list));
      expect([read?.circuitId, read?.remoteId].map((bytes) => bytes && [...bytes])).toEqual(
        [1, 2].map((code) => of(code) && [...(of(code) ?? [])]),
      );
      const link = of(5);
      expect(read?.linkSelection).toBe(link?.length === 4 ? Buffer.from(link).readUInt32BE(0) : undefined);
      expect(read?.toSourcePort).toBe(of(19) !== undefined);
    }),
    { numRuns: 2000 },
  );
});

test("any bytes are read or refused, never thrown at", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 255 }), (bytes) => {
      const read = parseRelayInformation(bytes);
      if (read?.circuitId) expect(read.circuitId.byteOffset + read.circuitId.length).toBeLessThanOrEqual(bytes.byteOffset + bytes.length);
    }),
    { numRuns: 20_000 },
  );
});

test("the first of two equal sub-options counts: it is the one next to the client", () => {
  expect([...(parseRelayInformation(Uint8Array.of(1, 1, 7, 1, 1, 8))?.circuitId ?? [])]).toEqual([7]);
});

test.each([
  [[1], undefined],
  [[1, 2, 7], undefined],
  [[10, 1, 0x80], true],
  [[10, 1, 0], false],
  [[10, 0], undefined],
])("RFC 5010's flags in %j: unicast is %s", (bytes, unicast) => {
  expect(parseRelayInformation(Uint8Array.from(bytes))?.wasUnicast).toBe(unicast);
});

test("RFC 3442: only the octets of a prefix that count are written", () => {
  const route = (to: string, via: string) => ({ to: parseNetwork(to) ?? { own: 0, mask: 0 }, via: parseIpv4(via) ?? 0 });
  expect([...classlessRoutes([route("0.0.0.0/0", "10.0.0.1")])]).toEqual([0, 10, 0, 0, 1]);
  expect([...classlessRoutes([route("10.229.0.128/25", "10.229.0.1")])]).toEqual([25, 10, 229, 0, 128, 10, 229, 0, 1]);
  expect([...classlessRoutes([route("10.198.122.47/32", "10.0.0.2"), route("10.17.0.9/16", "10.0.0.3")])]).toEqual([
    ...[32, 10, 198, 122, 47, 10, 0, 0, 2],
    ...[16, 10, 17, 10, 0, 0, 3],
  ]);
});

test("a mask's length", () => {
  for (let length = 0; length <= 32; length++) expect(prefixLength(parseNetwork(`10.0.0.0/${length}`) ?? { own: 0, mask: 1 })).toBe(length);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFrame, type Frame, MESSAGE, OPTION, parseFrame } from "./dhcp.ts";
import { readOption, writeOption } from "./dhcp-package.ts";
import { edk2Discover, ipxeDiscover } from "./golden.fixture.ts";

const bytes = (maximum: number) => fc.uint8Array({ maxLength: maximum });
const uint = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
const field = (length: number) => fc.uint8Array({ maxLength: length, min: 1 });
const optionCode = fc.integer({ min: 1, max: 254 }).filter((code) => code !== OPTION.overload);

const frames: fc.Arbitrary<Frame> = fc.record({
  op: fc.constantFrom(1 as const, 2 as const),
  hardwareType: uint(8),
  hardwareAddress: bytes(16),
  hops: uint(8),
  transactionId: uint(32),
  seconds: uint(16),
  flags: uint(16),
  clientAddress: uint(32),
  yourAddress: uint(32),
  serverAddress: uint(32),
  relayAddress: uint(32),
  serverName: field(64),
  file: field(128),
  options: fc.array(fc.tuple(optionCode, bytes(300)), { maxLength: 12 }).map((pairs) => new Map(pairs)),
});

test("what was encoded is decoded, less what had no room", () => {
  fc.assert(
    fc.property(frames, fc.integer({ min: 0, max: 2000 }), (frame, longest) => {
      const { bytes, dropped } = encodeFrame(frame, longest);
      const options = new Map([...frame.options].filter(([code]) => !dropped.includes(code)));
      const back = parseFrame(bytes);
      expect(plain(back)).toEqual(plain({ ...frame, options }));
      expect(bytes.length).toBeGreaterThanOrEqual(300);
      expect(bytes.length).toBeLessThanOrEqual(Math.max(548, Math.min(longest, 1472)));
    }),
    { numRuns: 3000 },
  );
});

test("the relay's option is never dropped", () => {
  const options = new Map([...Array(40)].map((_, at) => [at + 100, new Uint8Array(60)] as const));
  const { bytes, dropped } = encodeFrame({ ...ipxe(), options: new Map([...options, [OPTION.relayAgent, new Uint8Array(20)]]) });
  expect(dropped.length).toBeGreaterThan(0);
  expect(frame(bytes).options.get(OPTION.relayAgent)?.length).toBe(20);
});

test("a relay's option that leaves no room for anything else is dropped, not thrown at", () => {
  fc.assert(
    fc.property(fc.integer({ min: 250, max: 1400 }), fc.integer({ min: 0, max: 2000 }), (length, longest) => {
      const { bytes, dropped } = encodeFrame({ ...ipxe(), options: new Map([[OPTION.relayAgent, new Uint8Array(length)]]) }, longest);
      expect(frame(bytes).options.get(OPTION.relayAgent)?.length ?? 0).toBe(dropped.length > 0 ? 0 : length);
    }),
  );
});

test("nothing that comes from a network throws", () => {
  const header = new Uint8Array(240);
  header.set([1, 1, 6], 0);
  header.set([0x63, 0x82, 0x53, 0x63], 236);
  const framed = bytes(400).map((options) => Buffer.concat([header, options]));
  const bent = fc
    .tuple(fc.constantFrom(edk2Discover, ipxeDiscover), fc.array(fc.tuple(fc.nat(400), uint(8)), { maxLength: 8 }))
    .map(([golden, edits]) => {
      const copy = Uint8Array.from(golden);
      for (const [at, value] of edits) if (at < copy.length) copy[at] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(bytes(300), framed, bent), (datagram) => void parseFrame(datagram)),
    { numRuns: 40_000 },
  );
});

test("53 stands first and 82 last", () => {
  const options = new Map([
    [OPTION.relayAgent, Uint8Array.of(1, 1, 7)],
    [OPTION.leaseSeconds, Uint8Array.of(0, 0, 1, 0)],
    [OPTION.messageType, Uint8Array.of(MESSAGE.offer)],
  ]);
  const { bytes } = encodeFrame({ ...ipxe(), options });
  expect([...bytes.subarray(240, 243)]).toEqual([53, 1, 2]);
  expect([...bytes.subarray(249, 255)]).toEqual([82, 3, 1, 1, 7, 255]);
});

test("options in file and sname are read, and split options joined in order", () => {
  const datagram = new Uint8Array(300);
  datagram.set(ipxeDiscover.subarray(0, 240));
  datagram.set([52, 1, 3, 43, 2, 1, 2, 255], 240);
  datagram.set([43, 1, 3, 255], 108);
  datagram.set([0, 0, 43, 2, 4, 5, 255], 44);
  const parsed = frame(datagram);
  expect([...(parsed.options.get(43) ?? [])]).toEqual([1, 2, 3, 4, 5]);
  expect([...parsed.options.keys()]).toEqual([43]);
  expect(parsed.file.length + parsed.serverName.length).toBe(0);
});

test("an option longer than its datagram is a reason, not a frame", () => {
  const datagram = Uint8Array.from(ipxeDiscover.subarray(0, 250));
  datagram.set([60, 200, 1, 2], 240);
  expect(parseFrame(datagram)).toBe("option-overrun");
  expect(parseFrame(datagram.subarray(0, 100))).toBe("truncated");
});

test("EDK2's DISCOVER", () => {
  const seen = frame(edk2Discover);
  expect(Buffer.from(seen.options.get(OPTION.vendorClass) ?? []).toString()).toBe("PXEClient:Arch:00007:UNDI:003000");
  expect(readOption(OPTION.architecture, seen.options.get(OPTION.architecture) ?? new Uint8Array())).toEqual([7]);
  expect(readOption(OPTION.maximumSize, seen.options.get(OPTION.maximumSize) ?? new Uint8Array())).toBe(1472);
  expect(seen.options.get(OPTION.machineIdentifier)?.length).toBe(17);
});

test("iPXE's DISCOVER", () => {
  const seen = frame(ipxeDiscover);
  expect(readOption(OPTION.userClass, seen.options.get(OPTION.userClass) ?? new Uint8Array())).toBe("iPXE");
  expect(seen.options.has(OPTION.ipxe)).toBe(true);
});

test("the package's values: read what was written, refuse what has another shape", () => {
  expect([...(writeOption(OPTION.router, ["10.0.0.1", "10.0.0.2"]) ?? [])]).toEqual([10, 0, 0, 1, 10, 0, 0, 2]);
  expect(readOption(OPTION.leaseSeconds, Uint8Array.of(0, 0, 1))).toBeUndefined();
  expect(readOption(OPTION.requestedAddress, Uint8Array.of(10, 0, 0, 1, 9))).toBeUndefined();
  expect(writeOption(OPTION.requestedAddress, "10.0.0.999")).toBeUndefined();
  fc.assert(
    fc.property(uint(8), bytes(80), (code, value) => void readOption(code, value)),
    { numRuns: 10_000 },
  );
});

function frame(datagram: Uint8Array): Frame {
  const parsed = parseFrame(datagram);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function ipxe(): Frame {
  return frame(ipxeDiscover);
}

/** Views and Buffers compare as plain arrays; the order of options is not part of a frame's meaning. */
function plain(from: Frame | string): unknown {
  if (typeof from === "string") return from;
  return {
    ...from,
    hardwareAddress: [...from.hardwareAddress],
    serverName: [...from.serverName],
    file: [...from.file],
    options: [...from.options].map(([code, value]) => [code, ...value]).sort(([a = 0], [b = 0]) => a - b),
  };
}

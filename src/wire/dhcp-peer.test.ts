import optionTable from "dhcp/lib/options.js";
import protocol from "dhcp/lib/protocol.js";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ipv4Text } from "./address.ts";
import { encodeFrame, type Frame, OPTION, parseFrame } from "./dhcp.ts";
import { seenMessages } from "./seen-dhcp.fixture.ts";

/** The `dhcp` package's own parser reads the same datagrams: over the options it knows it agrees with ours. */

// it says so on standard error each time that it does not know an option
beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

describe.each(seenMessages)("$message of $client", ({ bytes }) => {
  test("is read alike", () => {
    // it skips the byte behind each pad, and then reads something else
    const plain = encodeFrame(ours(bytes), 1472).bytes;
    expect(theirs(plain)).toEqual(expected(ours(plain)));
    expect(Object.keys(theirs(plain).options).length).toBeGreaterThan(0);
  });
});

const widths: Readonly<Record<string, fc.Arbitrary<Uint8Array>>> = {
  ...Object.fromEntries(["UInt8", "Int8"].map((type) => [type, fc.uint8Array({ minLength: 1, maxLength: 1 })])),
  ...Object.fromEntries(["UInt16", "Int16"].map((type) => [type, fc.uint8Array({ minLength: 2, maxLength: 2 })])),
  ...Object.fromEntries(["UInt32", "Int32", "IP"].map((type) => [type, fc.uint8Array({ minLength: 4, maxLength: 4 })])),
  UInt8s: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  UInt16s: fc.array(fc.uint8Array({ minLength: 2, maxLength: 2 }), { minLength: 1, maxLength: 8 }).map(together),
  IPs: fc.array(fc.uint8Array({ minLength: 4, maxLength: 4 }), { minLength: 1, maxLength: 4 }).map(together),
  ASCII: fc.uint8Array({ minLength: 1, maxLength: 24 }),
  UTF8: fc.uint8Array({ minLength: 1, maxLength: 24 }),
};
/** Those it reads by a width it has: to its booleans it gives none. */
const readable = Object.entries(optionTable.opts).flatMap(([code, { type = "" }]) => {
  const value = widths[type];
  return value && Number(code) !== OPTION.overload ? [value.map((bytes): [number, Uint8Array] => [Number(code), bytes])] : [];
});
const number32 = fc.integer({ min: 0, max: 0xffffffff });
const text = fc.string({ maxLength: 40 }).map((one) => Buffer.from(one.replaceAll("\0", "")));
const frames: fc.Arbitrary<Frame> = fc.record({
  op: fc.constantFrom<1 | 2>(1, 2),
  hardwareType: fc.constant(1),
  hardwareAddress: fc.uint8Array({ minLength: 6, maxLength: 6 }),
  hops: fc.integer({ min: 0, max: 255 }),
  transactionId: number32,
  seconds: fc.integer({ min: 0, max: 0xffff }),
  flags: fc.integer({ min: 0, max: 0xffff }),
  clientAddress: number32,
  yourAddress: number32,
  serverAddress: number32,
  relayAddress: number32,
  serverName: text,
  file: text,
  options: fc.array(fc.oneof(...readable), { maxLength: 12 }).map((options) => new Map(options)),
});

test("what the encoder writes, the package reads alike", () => {
  expect(readable.length).toBeGreaterThan(60);
  fc.assert(
    fc.property(frames, (frame) => {
      const { bytes, dropped } = encodeFrame(frame, 1472);
      fc.pre(dropped.length === 0);
      expect(theirs(bytes)).toEqual(expected(frame));
      expect(theirs(bytes)).toEqual(expected(ours(bytes)));
    }),
    { numRuns: 500 },
  );
});

function theirs(bytes: Uint8Array) {
  return protocol.parse(Buffer.from(bytes));
}

function ours(bytes: Uint8Array): Frame {
  const frame = parseFrame(bytes);
  if (typeof frame === "string") throw new Error(frame);
  return frame;
}

/** A frame in the package's own words. */
function expected(frame: Frame) {
  const known = [...frame.options].filter(([code]) => String(code) in optionTable.opts);
  return {
    op: frame.op,
    htype: frame.hardwareType,
    hlen: frame.hardwareAddress.length,
    hops: frame.hops,
    xid: frame.transactionId,
    secs: frame.seconds,
    flags: frame.flags,
    ciaddr: ipv4Text(frame.clientAddress),
    yiaddr: ipv4Text(frame.yourAddress),
    siaddr: ipv4Text(frame.serverAddress),
    giaddr: ipv4Text(frame.relayAddress),
    chaddr: Buffer.from(frame.hardwareAddress).toString("hex").toUpperCase().match(/../g)?.join("-"),
    sname: Buffer.from(frame.serverName).toString("utf8"),
    file: Buffer.from(frame.file).toString("utf8"),
    magicCookie: 0x63825363,
    options: Object.fromEntries(known.map(([code, bytes]) => [String(code), typedValue(code, Buffer.from(bytes))])),
  };
}

/** The value of an option by the type the package's table gives it, without the package's readers. */
function typedValue(code: number, bytes: Buffer): unknown {
  const each = (width: number) => Array.from({ length: bytes.length / width }, (_, at) => bytes.subarray(at * width, (at + 1) * width));
  const untilZero = (text: string) => text.split("\0")[0];
  switch (optionTable.opts[String(code)]?.type) {
    case "UInt8":
      return bytes.readUInt8();
    case "Int8":
      return bytes.readInt8();
    case "UInt16":
      return bytes.readUInt16BE();
    case "Int16":
      return bytes.readInt16BE();
    case "UInt32":
      return bytes.readUInt32BE();
    case "Int32":
      return bytes.readInt32BE();
    case "IP":
      return [...bytes].join(".");
    case "UInt8s":
      return [...bytes];
    case "UInt16s":
      return each(2).map((one) => one.readUInt16BE());
    case "IPs":
      return each(4).map((one) => [...one].join("."));
    case "ASCII":
      return untilZero(bytes.toString("ascii"));
    case "UTF8":
      return untilZero(bytes.toString("utf8"));
    default:
      throw new Error(`option ${code}, whose type is not compared`);
  }
}

function together(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

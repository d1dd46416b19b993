import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeTftp, parseTftp, type TftpPacket } from "./tftp-package.ts";

const word = fc.string({ unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789./-"), minLength: 1, maxLength: 40 });
const options = fc.array(fc.tuple(word, word), { maxLength: 3 }).map((pairs) => new Map(pairs));
const uint16 = fc.integer({ min: 0, max: 65_535 });

const packets: fc.Arbitrary<TftpPacket> = fc.oneof(
  fc.record({ kind: fc.constantFrom("read" as const, "write" as const), file: word, mode: fc.constant("octet"), options }),
  fc.record({ kind: fc.constant("data" as const), block: uint16, data: fc.uint8Array({ maxLength: 1468 }) }),
  fc.record({ kind: fc.constant("ack" as const), block: uint16 }),
  fc.record({ kind: fc.constant("error" as const), code: uint16, message: word }),
  fc.record({ kind: fc.constant("optionAck" as const), options }),
);

test("what was encoded is decoded", () => {
  fc.assert(
    fc.property(packets, (packet) => {
      fc.pre(packet.kind !== "optionAck" || packet.options.size > 0);
      expect(plain(parseTftp(encodeTftp(packet)))).toEqual(plain(packet));
    }),
    { numRuns: 3000 },
  );
});

test("nothing that comes from a network throws", () => {
  const opcode = fc
    .tuple(fc.integer({ min: 0, max: 8 }), fc.uint8Array({ maxLength: 60 }))
    .map(([code, rest]) => Uint8Array.of(0, code, ...rest));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), opcode), (datagram) => void parseTftp(datagram)),
    { numRuns: 40_000 },
  );
});

test("option names in any case, the timeout option, a ROM's padding", () => {
  const datagram = Buffer.from("\0\x01undionly.kpxe\0OCTET\0BlkSize\x001432\0timeout\x003\0\0\0\0", "latin1");
  const packet = parseTftp(datagram);
  if (typeof packet === "string" || packet.kind !== "read") throw new Error("not a read request");
  expect(packet.mode).toBe("octet");
  expect([...packet.options]).toEqual([
    ["blksize", "1432"],
    ["timeout", "3"],
  ]);
});

test("short datagrams are reasons", () => {
  expect(parseTftp(Uint8Array.of(3))).toBe("truncated");
  expect(parseTftp(Uint8Array.of(0, 9, 0, 0))).toBe("opcode");
  expect(parseTftp(Buffer.from("\0\x01file", "latin1"))).toBe("string-without-end");
});

function plain(packet: TftpPacket | string): unknown {
  if (typeof packet === "string") return packet;
  if (packet.kind === "data") return { ...packet, data: [...packet.data] };
  return "options" in packet ? { ...packet, options: Object.fromEntries(packet.options) } : { ...packet };
}

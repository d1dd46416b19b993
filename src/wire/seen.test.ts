import { describe, expect, test } from "vitest";
import { encodeFrame, type Frame, MESSAGE, OPTION, parseFrame } from "./dhcp.ts";
import { optionName, readOption, writeOption } from "./dhcp-package.ts";
import { type SeenMessage, seenMessages } from "./seen-dhcp.fixture.ts";
import { seenRequests } from "./seen-tftp.fixture.ts";
import { encodeTftp, parseTftp } from "./tftp-package.ts";

describe.each(seenMessages)("$message of $client", (seen) => {
  test("encodes to the bytes it was decoded from", () => {
    const { bytes, dropped } = encodeFrame(frame(seen));
    expect(dropped).toEqual([]);
    expect(hex(bytes)).toBe(hex(canonical(seen.bytes)));
  });

  test("says what it is", () => {
    const { op, options, hardwareAddress } = frame(seen);
    expect([op, hardwareAddress.length]).toEqual([1, 6]);
    const type = { DISCOVER: MESSAGE.discover, REQUEST: MESSAGE.request, RELEASE: MESSAGE.release }[seen.message];
    expect(options.get(OPTION.messageType)).toEqual(Uint8Array.of(type));
    expect(options.has(OPTION.ipxe)).toBe(seen.client.startsWith("iPXE"));
  });

  test("every option whose type is known is written as it was read", () => {
    let known = 0;
    for (const [code, bytes] of frame(seen).options) {
      const value = readOption(code, bytes);
      const written = value === undefined ? undefined : writeOption(code, value);
      if (written === undefined) continue;
      known += 1;
      expect(hex(written), optionName(code)).toBe(hex(bytes));
    }
    expect(known).toBeGreaterThan(1);
  });

  test("cut anywhere, it is a reason or a shorter frame, and never read beyond its end", () => {
    for (let end = 0; end <= seen.bytes.length; end++) {
      const around = new Uint8Array(end + 64).fill(0xfd);
      around.set(seen.bytes.subarray(0, end), 32);
      const alone = parseFrame(Uint8Array.from(seen.bytes.subarray(0, end)));
      const inside = parseFrame(around.subarray(32, 32 + end));
      expect(plain(inside)).toEqual(plain(alone));
    }
  });
});

describe.each(seenRequests)("read request of $client for $file", (seen) => {
  test("decodes, and encodes to the same bytes", () => {
    const packet = parseTftp(seen.bytes);
    if (typeof packet === "string" || packet.kind !== "read") throw new Error(`not a read request: ${JSON.stringify(packet)}`);
    expect([packet.file, packet.mode, [...packet.options]]).toEqual([seen.file, "octet", seen.options]);
    expect(hex(encodeTftp(packet))).toBe(hex(seen.bytes));
  });

  test("cut anywhere, it is a reason or a shorter packet, and never read beyond its end", () => {
    // what lies behind: zeros would end a string that has no end, other bytes prolong one
    for (const behind of [0, 0x61]) {
      for (let end = 0; end <= seen.bytes.length; end++) {
        const around = new Uint8Array(end + 64).fill(behind);
        around.set(seen.bytes.subarray(0, end), 32);
        expect(parseTftp(around.subarray(32, 32 + end))).toEqual(parseTftp(Uint8Array.from(seen.bytes.subarray(0, end))));
      }
    }
  });
});

/**
 * Zeros behind the options are no part of the message; 300 bytes are the least one has (RFC 1542 §2.1). Option 53 stands first,
 * which dhcpcd's REQUEST does not do.
 */
function canonical(bytes: Uint8Array): Uint8Array {
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const padded = new Uint8Array(Math.max(300, end));
  padded.set(bytes.subarray(0, end));
  const [code = 0, length = 0] = padded.subarray(OPTIONS);
  const next = OPTIONS + 2 + length;
  if (code === OPTION.messageType || padded[next] !== OPTION.messageType) return padded;
  const type = padded.slice(next, next + 3);
  padded.copyWithin(OPTIONS + 3, OPTIONS, next);
  padded.set(type, OPTIONS);
  return padded;
}

/** Behind the header and the magic cookie. */
const OPTIONS = 240;

function frame(seen: SeenMessage): Frame {
  const parsed = parseFrame(seen.bytes);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function plain(from: Frame | string): unknown {
  return typeof from === "string"
    ? from
    : {
        ...from,
        hardwareAddress: hex(from.hardwareAddress),
        options: [...from.options].map(([code, value]) => [code, hex(value)]),
        file: hex(from.file),
        serverName: hex(from.serverName),
      };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

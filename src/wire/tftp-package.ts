import packets from "tftp/lib/protocol/packets/index.js";
import readString from "tftp/lib/protocol/packets/read-string.js";

/**
 * The `tftp` package's packet codec behind length guards: it reads past the end of short datagrams, knows option names in lower
 * case only and forgets the `timeout` option, so a request's strings are read one by one.
 */

export const OPCODE = { read: 1, write: 2, data: 3, ack: 4, error: 5, optionAck: 6 } as const;

/** RFC 1350 §5 and RFC 2347. */
export const TFTP_ERROR = { undefined: 0, notFound: 1, access: 2, illegal: 4, unknownTransfer: 5, options: 8 } as const;

export type TftpPacket =
  | { readonly kind: "read" | "write"; readonly file: string; readonly mode: string; readonly options: ReadonlyMap<string, string> }
  | { readonly kind: "data"; readonly block: number; readonly data: Uint8Array }
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "error"; readonly code: number; readonly message: string }
  | { readonly kind: "optionAck"; readonly options: ReadonlyMap<string, string> };

export type TftpMalformed = "truncated" | "opcode" | "string-without-end";

/** Requests are at most so long (RFC 2347 §2). */
const LONGEST_REQUEST = 512;

/** A datagram as a packet, or the reason why it is none. Never throws. */
export function parseTftp(datagram: Uint8Array): TftpPacket | TftpMalformed {
  if (datagram.length < 4) return "truncated";
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  try {
    return parse(bytes);
  } catch {
    return "string-without-end";
  }
}

function parse(bytes: Buffer): TftpPacket | TftpMalformed {
  switch (bytes.readUInt16BE(0)) {
    case OPCODE.read:
      return request("read", bytes);
    case OPCODE.write:
      return request("write", bytes);
    case OPCODE.data:
      return { kind: "data", ...packets.data.deserialize(bytes, bytes.length) };
    case OPCODE.ack:
      return { kind: "ack", block: packets.ack.deserialize(bytes).block };
    case OPCODE.error:
      return { kind: "error", ...packets.error.deserialize(bytes) };
    case OPCODE.optionAck:
      return { kind: "optionAck", options: pairs(bytes, { offset: 2 }) };
    default:
      return "opcode";
  }
}

function request(kind: "read" | "write", bytes: Buffer): TftpPacket {
  const cursor = { offset: 2 };
  const inside = bytes.subarray(0, LONGEST_REQUEST);
  const file = readString(inside, cursor);
  const mode = readString(inside, cursor).toLowerCase();
  return { kind, file, mode, options: pairs(inside, cursor) };
}

/** RFC 2347: names in any case; the first of a name counts. Zeros behind the last pair are padding of old ROMs. */
function pairs(bytes: Buffer, cursor: { offset: number }): Map<string, string> {
  const options = new Map<string, string>();
  while (cursor.offset < bytes.length) {
    const name = readString(bytes, cursor).toLowerCase();
    if (name === "") break;
    const value = readString(bytes, cursor);
    if (!options.has(name)) options.set(name, value);
  }
  return options;
}

export function encodeTftp(packet: TftpPacket): Uint8Array {
  switch (packet.kind) {
    case "data":
      return packets.data.serialize(packet.block, Buffer.from(packet.data.buffer, packet.data.byteOffset, packet.data.byteLength));
    case "ack":
      return packets.ack.serialize(packet.block);
    case "error":
      return packets.error.serialize({ code: packet.code, message: packet.message });
    case "optionAck":
      return packets.oack.serialize(Object.fromEntries(packet.options));
    default:
      return encodeRequest(packet);
  }
}

/** The package's writer of requests belongs to its client's option objects; the format is five lines. */
function encodeRequest(packet: Extract<TftpPacket, { kind: "read" | "write" }>): Uint8Array {
  const strings = [packet.file, packet.mode, ...[...packet.options].flat()];
  const text = strings.map((one) => `${one}\0`).join("");
  return Buffer.concat([Buffer.from([0, OPCODE[packet.kind]]), Buffer.from(text, "latin1")]);
}

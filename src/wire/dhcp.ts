/** A DHCPv4 message as it stands on the wire: RFC 2131 §2, options by RFC 2132 and RFC 3396. */
export interface Frame {
  readonly op: 1 | 2;
  readonly hardwareType: number;
  readonly hardwareAddress: Uint8Array;
  readonly hops: number;
  readonly transactionId: number;
  readonly seconds: number;
  /** Bit 15 asks for broadcast replies; the others are kept as they came. */
  readonly flags: number;
  readonly clientAddress: number;
  readonly yourAddress: number;
  readonly serverAddress: number;
  readonly relayAddress: number;
  /** The fields `sname` and `file` up to their zero; empty where they carried options (option 52). */
  readonly serverName: Uint8Array;
  readonly file: Uint8Array;
  /** Raw bytes by option code, split options joined; options nobody knows survive. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export type Malformed = "truncated" | "oversized" | "op" | "hardware-length" | "magic-cookie" | "option-overrun";

export const OPTION = {
  subnetMask: 1,
  router: 3,
  hostname: 12,
  vendorSpecific: 43,
  requestedAddress: 50,
  leaseSeconds: 51,
  overload: 52,
  messageType: 53,
  serverIdentifier: 54,
  parameterList: 55,
  message: 56,
  maximumSize: 57,
  renewalSeconds: 58,
  rebindingSeconds: 59,
  vendorClass: 60,
  clientIdentifier: 61,
  tftpServer: 66,
  bootFile: 67,
  userClass: 77,
  relayAgent: 82,
  architecture: 93,
  networkInterface: 94,
  machineIdentifier: 97,
  classlessRoutes: 121,
  ipxe: 175,
} as const;

/** Values of option 53. */
export const MESSAGE = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;

const HEADER = 236;
const SNAME = { at: 44, bytes: 64 } as const;
const FILE = { at: 108, bytes: 128 } as const;
const MAGIC_COOKIE = 0x63825363;
const PAD = 0;
const END = 255;
/** RFC 1542 §2.1: relays and old clients drop what is shorter. */
const SHORTEST = 300;
/** RFC 2131 §2: what every client takes, 576 bytes with the IP and UDP headers. */
const LONGEST_BY_DEFAULT = 576 - 28;
/** One Ethernet frame: boot firmware does not put fragments together. */
const LONGEST_DATAGRAM = 1500 - 28;
/** No client has more to say; what is longer was not made by one. */
const LONGEST_ACCEPTED = 4096;

/**
 * First step: framing only. Never throws; a datagram from a network is either a frame or a reason.
 * @param datagram the UDP payload; it is viewed, not copied
 */
export function parseFrame(datagram: Uint8Array): Frame | Malformed {
  if (datagram.length < HEADER + 4) return "truncated";
  if (datagram.length > LONGEST_ACCEPTED) return "oversized";
  const op = datagram[0] ?? 0;
  if (op !== 1 && op !== 2) return "op";
  const hardwareLength = datagram[2] ?? 0;
  if (hardwareLength > 16) return "hardware-length";
  if (number32(datagram, HEADER) !== MAGIC_COOKIE) return "magic-cookie";

  const options = new Map<number, Uint8Array>();
  if (!readOptions(datagram, HEADER + 4, datagram.length, options)) return "option-overrun";
  // RFC 2131 §4.1: the options field first, then `file`, then `sname`; an option 52 inside those means nothing
  const overload = overloadOf(options.get(OPTION.overload));
  if (overload & 1 && !readOptions(datagram, FILE.at, FILE.at + FILE.bytes, options)) return "option-overrun";
  if (overload & 2 && !readOptions(datagram, SNAME.at, SNAME.at + SNAME.bytes, options)) return "option-overrun";
  options.delete(OPTION.overload);

  return {
    op,
    hardwareType: datagram[1] ?? 0,
    // InfiniBand (htype 32) sends hlen 0 and identifies itself by option 61: RFC 4390 §2.1
    hardwareAddress: viewOf(datagram, 28, hardwareLength),
    hops: datagram[3] ?? 0,
    transactionId: number32(datagram, 4),
    seconds: number16(datagram, 8),
    flags: number16(datagram, 10),
    clientAddress: number32(datagram, 12),
    yourAddress: number32(datagram, 16),
    serverAddress: number32(datagram, 20),
    relayAddress: number32(datagram, 24),
    serverName: overload & 2 ? NOTHING : untilZero(datagram, SNAME),
    file: overload & 1 ? NOTHING : untilZero(datagram, FILE),
    options,
  };
}

/** RFC 2132 §9.3: one byte, 1 to 3; anything else means nothing. */
function overloadOf(value: Uint8Array | undefined): number {
  const flags = value?.length === 1 ? (value[0] ?? 0) : 0;
  return flags <= 3 ? flags : 0;
}

const NOTHING = new Uint8Array();

function number16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function number32(bytes: Uint8Array, at: number): number {
  return ((number16(bytes, at) << 16) | number16(bytes, at + 2)) >>> 0;
}

/** A plain view: to make a Buffer costs several times as much. */
function viewOf(bytes: Uint8Array, at: number, length: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + at, length);
}

function readOptions(bytes: Uint8Array, start: number, end: number, into: Map<number, Uint8Array>): boolean {
  for (let at = start; at < end; ) {
    const code = bytes[at] ?? END;
    if (code === END) return true;
    if (code === PAD) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > end) return false;
    const part = viewOf(bytes, at + 2, length);
    const before = into.get(code);
    into.set(code, before ? Buffer.concat([before, part]) : part);
    at += 2 + length;
  }
  return true;
}

function untilZero(bytes: Uint8Array, { at, bytes: most }: { readonly at: number; readonly bytes: number }): Uint8Array {
  // nearly always it is empty
  if (bytes[at] === 0) return NOTHING;
  const field = viewOf(bytes, at, most);
  const zero = field.indexOf(0);
  return zero < 0 ? field : field.subarray(0, zero);
}

export interface Encoded {
  readonly bytes: Uint8Array;
  /** Options that had no room; the last ones given go first. */
  readonly dropped: readonly number[];
}

/**
 * A frame as bytes: option 53 first, 82 last (RFC 3046 §2.1), long options split (RFC 3396), what does not fit in an empty
 * `file` or `sname` (option 52), padded to 300 bytes.
 * @param longest the client's option 57 less the IP and UDP headers; never below what every client takes
 */
export function encodeFrame(frame: Frame, longest = LONGEST_BY_DEFAULT): Encoded {
  const room = Math.min(Math.max(longest, LONGEST_BY_DEFAULT), LONGEST_DATAGRAM);
  const plain = plainLength(frame.options);
  // nearly always all options fit as they are
  const isPlain = plain !== undefined && plain <= room;
  const bytes = zeroed(isPlain ? Math.max(plain, SHORTEST) : room);
  bytes[0] = frame.op;
  bytes[1] = frame.hardwareType;
  bytes[2] = Math.min(frame.hardwareAddress.length, 16);
  bytes[3] = frame.hops;
  bytes.writeUInt32BE(frame.transactionId, 4);
  bytes.writeUInt16BE(frame.seconds, 8);
  bytes.writeUInt16BE(frame.flags, 10);
  bytes.writeUInt32BE(frame.clientAddress, 12);
  bytes.writeUInt32BE(frame.yourAddress, 16);
  bytes.writeUInt32BE(frame.serverAddress, 20);
  bytes.writeUInt32BE(frame.relayAddress, 24);
  put(bytes, frame.hardwareAddress, 28, 16);
  put(bytes, frame.serverName, SNAME.at, SNAME.bytes);
  put(bytes, frame.file, FILE.at, FILE.bytes);
  bytes.writeUInt32BE(MAGIC_COOKIE, HEADER);
  if (isPlain) {
    writePlain(frame.options, bytes);
    return { bytes, dropped: NONE };
  }
  const { end, dropped } = writeOptions(frame, bytes);
  return { bytes: bytes.subarray(0, Math.max(end, SHORTEST)), dropped };
}

const NONE: readonly number[] = [];

function zeroed(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  // not Buffer's own, which first finds out what it is given
  Uint8Array.prototype.fill.call(bytes, 0);
  return bytes;
}

/** Copies a few bytes: a loop is quicker than a call for so few. */
function put(bytes: Uint8Array, value: Uint8Array, at: number, most: number): void {
  for (let offset = 0; offset < value.length && offset < most; offset++) bytes[at + offset] = value[offset] ?? 0;
}

/** Bytes of a frame whose options need neither splitting nor another field's room; undefined where one needs splitting. */
function plainLength(options: ReadonlyMap<number, Uint8Array>): number | undefined {
  let length = HEADER + 4 + 1;
  for (const [code, value] of options) {
    if (value.length > 255) return undefined;
    if (code > PAD && code < END && code !== OPTION.overload) length += 2 + value.length;
  }
  return length;
}

function writePlain(options: ReadonlyMap<number, Uint8Array>, bytes: Uint8Array): void {
  let at = HEADER + 4;
  const write = (code: number, value: Uint8Array | undefined) => {
    if (!value) return;
    bytes[at] = code;
    bytes[at + 1] = value.length;
    put(bytes, value, at + 2, 255);
    at += 2 + value.length;
  };
  write(OPTION.messageType, options.get(OPTION.messageType));
  for (const [code, value] of options) {
    if (code <= PAD || code >= END || code === OPTION.messageType || code === OPTION.overload || code === OPTION.relayAgent) continue;
    write(code, value);
  }
  write(OPTION.relayAgent, options.get(OPTION.relayAgent));
  bytes[at] = END;
}

/** Room for options: the options field itself, or a header field that option 52 (`flag`) says carries some. */
interface Room {
  readonly flag: 0 | 1 | 2;
  readonly start: number;
  at: number;
  readonly end: number;
}

const OVERLOAD_BYTES = 3;

function writeOptions(frame: Frame, bytes: Uint8Array): { end: number; dropped: number[] } {
  const start = HEADER + 4;
  const dropped: number[] = [];
  let last = encodeOption(OPTION.relayAgent, frame.options.get(OPTION.relayAgent));
  // no relay sends one that fills a datagram; whoever does gets none of it back
  if (start + last.length + OVERLOAD_BYTES + 1 > bytes.length) {
    last = new Uint8Array();
    dropped.push(OPTION.relayAgent);
  }
  const parts = [...frame.options]
    .filter(([code]) => code !== OPTION.relayAgent && code !== OPTION.overload && code > PAD && code < END)
    .sort(([a], [b]) => Number(b === OPTION.messageType) - Number(a === OPTION.messageType))
    .map(([code, value]) => ({ code, bytes: encodeOption(code, value) }));

  const end = bytes.length - last.length - 1;
  const rooms: Room[] = [{ flag: 0, start, at: start, end }];
  if (start + parts.reduce((sum, part) => sum + part.bytes.length, 0) > end) {
    if (frame.file.length === 0) rooms.push({ flag: 1, start: FILE.at, at: FILE.at, end: FILE.at + FILE.bytes - 1 });
    if (frame.serverName.length === 0) rooms.push({ flag: 2, start: SNAME.at, at: SNAME.at, end: SNAME.at + SNAME.bytes - 1 });
    if (rooms.length > 1) rooms[0] = { flag: 0, start, at: start, end: end - OVERLOAD_BYTES };
  }

  for (const part of parts) {
    // a split option stays in one room, so that its parts are joined in the right order
    const room = rooms.find((one) => one.at + part.bytes.length <= one.end);
    if (room) {
      bytes.set(part.bytes, room.at);
      room.at += part.bytes.length;
    } else dropped.push(part.code);
  }

  let at = rooms[0]?.at ?? start;
  const helping = rooms.filter((room) => room.flag !== 0 && room.at > room.start);
  for (const room of helping) bytes[room.at] = END;
  if (helping.length > 0) {
    bytes.set([OPTION.overload, 1, helping.reduce((sum, room) => sum | room.flag, 0)], at);
    at += OVERLOAD_BYTES;
  }
  bytes.set(last, at);
  at += last.length;
  bytes[at] = END;
  return { end: at + 1, dropped };
}

function encodeOption(code: number, value: Uint8Array | undefined): Uint8Array {
  if (!value) return new Uint8Array();
  const pieces = Math.max(1, Math.ceil(value.length / 255));
  const bytes = new Uint8Array(value.length + 2 * pieces);
  for (let piece = 0, at = 0; piece < pieces; piece++) {
    const part = value.subarray(piece * 255, piece * 255 + 255);
    bytes.set([code, part.length], at);
    bytes.set(part, at + 2);
    at += 2 + part.length;
  }
  return bytes;
}

/** What the bytes so far are: one whole ClientHello, part of one, or nothing that begins like one. */
export type HelloFrame =
  | { readonly kind: "frame"; readonly body: Buffer }
  /** Not before so many bytes are there need one look again. */
  | { readonly kind: "more"; readonly atLeast: number }
  | { readonly kind: "malformed"; readonly reason: string };

/** What a ClientHello says that matters here. */
export interface ClientHello {
  /** The host name of RFC 6066 §3, in lower case. */
  readonly serverName?: string;
}

export type HelloMeaning =
  | { readonly kind: "hello"; readonly hello: ClientHello }
  | { readonly kind: "malformed"; readonly reason: string };

/** Clients send some hundred bytes, with post-quantum keys two thousand. */
export const LONGEST_HELLO = 16 * 1024;
/** Each of them is looked at again with every byte: so many fragments nobody sends who means well. */
const MOST_RECORDS = 64;
const RECORD_HEADER = 5;
const LONGEST_RECORD = 2 ** 14;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** The first step: the records of RFC 8446 §5.1 are joined until the handshake message in them is whole. */
export function frameHello(bytes: Buffer): HelloFrame {
  const fragments: Buffer[] = [];
  let size = 0;
  let at = 0;
  for (let records = 0; ; records += 1) {
    if (records === MOST_RECORDS) return malformed(`a ClientHello in more than ${MOST_RECORDS} records`);
    if (bytes.length > at && bytes[at] !== HANDSHAKE) return malformed("not a TLS handshake");
    if (bytes.length < at + RECORD_HEADER) return { kind: "more", atLeast: at + RECORD_HEADER };
    if (bytes[at + 1] !== 3) return malformed("not a version of TLS");
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0) return malformed("an empty record");
    if (length > LONGEST_RECORD) return malformed(`a record of ${length} bytes`);
    const fragment = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    fragments.push(fragment);
    size += fragment.length;
    const message = size >= 4 ? Buffer.concat(fragments, size) : undefined;
    if (message) {
      if (message[0] !== CLIENT_HELLO) return malformed("a handshake that does not begin with a ClientHello");
      const wanted = message.readUIntBE(1, 3);
      if (wanted > LONGEST_HELLO) return malformed(`a ClientHello of ${wanted} bytes`);
      if (message.length > 4 + wanted) return malformed("more in the record than a ClientHello");
      if (message.length === 4 + wanted) return { kind: "frame", body: message.subarray(4) };
    }
    at += RECORD_HEADER + length;
    if (bytes.length < at) return { kind: "more", atLeast: at };
  }
}

/** The second step: the meaning of the message's body, RFC 8446 §4.1.2. */
export function readHello(body: Buffer): HelloMeaning {
  const reader = readerOf(body);
  reader.skip(2 + 32);
  reader.vector(1);
  reader.vector(2);
  reader.vector(1);
  // before TLS 1.3 there may be none
  const extensions = reader.ended() ? Buffer.alloc(0) : reader.vector(2);
  if (!extensions || !reader.ended()) return malformed("a ClientHello whose lengths do not add up");
  const seen = new Set<number>();
  let serverName: string | undefined;
  const list = readerOf(extensions);
  while (!list.ended()) {
    const type = list.number(2);
    const data = list.vector(2);
    if (type === undefined || !data) return malformed("extensions whose lengths do not add up");
    if (seen.has(type)) return malformed(`extension ${type} twice`);
    seen.add(type);
    if (type !== SERVER_NAME) continue;
    const name = readServerName(data);
    if (name === undefined) return malformed("a server name that is none");
    serverName = name;
  }
  return { kind: "hello", hello: Object.freeze(serverName === undefined ? {} : { serverName }) };
}

/** RFC 6066 §3: a list with one name of each type; the only type there is is host_name. */
function readServerName(data: Buffer): string | undefined {
  const outer = readerOf(data);
  const names = outer.vector(2);
  if (!names || !outer.ended()) return undefined;
  const list = readerOf(names);
  const type = list.number(1);
  const name = list.vector(2);
  if (type !== HOST_NAME || !name || !list.ended()) return undefined;
  const text = name.toString("latin1").toLowerCase();
  return text.length <= 253 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(text) ? text : undefined;
}

/** Reads on from the front; what is not there is undefined, once and then for good. */
function readerOf(bytes: Buffer) {
  let at = 0;
  let short = false;
  function take(length: number): Buffer | undefined {
    if (short || at + length > bytes.length) {
      short = true;
      return undefined;
    }
    at += length;
    return bytes.subarray(at - length, at);
  }
  const number = (width: 1 | 2): number | undefined => take(width)?.readUIntBE(0, width);
  return {
    skip: (length: number) => void take(length),
    number,
    /** A length of so many bytes, and as many bytes as it says. */
    vector(width: 1 | 2): Buffer | undefined {
      const length = number(width);
      return length === undefined ? undefined : take(length);
    },
    ended: () => !short && at === bytes.length,
  };
}

function malformed(reason: string): { readonly kind: "malformed"; readonly reason: string } {
  return { kind: "malformed", reason };
}

/** RFC 8446 §6. */
const ALERTS = { unexpectedMessage: 10, decodeError: 50, internalError: 80, unrecognizedName: 112 } as const;
export type AlertName = keyof typeof ALERTS;

/** A fatal alert, before any key is agreed on: in the clear, as the answer to a ClientHello. */
export function tlsAlert(name: AlertName): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, ALERTS[name]]);
}

import { connect } from "node:http2";

/** A field of a protobuf message: bytes, text, or a number. */
export type GrpcField = readonly [number: number, value: string | number | Buffer];

export interface GrpcOptions {
  readonly endpoint: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly token: string;
}

/**
 * One connection to an etcd by gRPC. Only for what its JSON gateway makes dear: base64 of values costs etcd and us ten
 * times what the values do.
 */
export interface Grpc {
  /** The messages that answer one call, as they come; throws when it is refused, breaks, or says nothing for 30 seconds. */
  call(method: string, request: Buffer, signal: AbortSignal): AsyncGenerator<Buffer>;
  close(): void;
}

/** For answers of mebibytes: the default of HTTP/2 is 64 KiB. */
const WINDOW_BYTES = 4 * 2 ** 20;
const SILENCE_MS = 30_000;

export function openGrpc({ endpoint, tls, token }: GrpcOptions): Grpc {
  const session = connect(endpoint, { ...tls, settings: { initialWindowSize: WINDOW_BYTES } });
  // its streams fail, too, and say so
  session.on("error", () => {});
  session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));

  async function* call(method: string, request: Buffer, signal: AbortSignal): AsyncGenerator<Buffer> {
    signal.throwIfAborted();
    const headers = { ":method": "POST", ":path": `/etcdserverpb.${method}`, "content-type": "application/grpc", te: "trailers", token };
    const stream = session.request(headers);
    const end = () => stream.destroy(new Error("it was ended"));
    signal.addEventListener("abort", end, { once: true });
    stream.setTimeout(SILENCE_MS, () => stream.destroy(new Error(`no word for ${SILENCE_MS / 1000} s`)));
    let said: Record<string, unknown> = {};
    for (const event of ["response", "trailers"] as const) stream.on(event, (more: object) => (said = { ...said, ...more }));
    try {
      stream.end(frame(request));
      yield* messagesOf(stream);
      const { "grpc-status": status, "grpc-message": message = "" } = said;
      if (String(status) !== "0") throw new Error(decodeURIComponent(String(message)) || `status ${String(status)}`);
    } finally {
      signal.removeEventListener("abort", end);
      stream.destroy();
    }
  }

  return { call, close: () => session.destroy() };
}

async function* messagesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    held.push(chunk);
    size += chunk.length;
    // joined once a message is whole: one of mebibytes comes in hundreds of chunks
    for (let needed = neededOf(held); needed !== undefined && size >= needed; needed = neededOf(held)) {
      const whole = Buffer.concat(held, size);
      yield whole.subarray(HEAD_BYTES, needed);
      held = [whole.subarray(needed)];
      size -= needed;
    }
  }
}

/** A compression flag and the length. */
const HEAD_BYTES = 5;

function frame(request: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(request.length, 1);
  return Buffer.concat([head, request]);
}

function neededOf(held: Buffer[]): number | undefined {
  if ((held[0]?.length ?? 0) < HEAD_BYTES && held.length > 1) held.splice(0, held.length, Buffer.concat(held));
  const [first] = held;
  return first && first.length >= HEAD_BYTES ? HEAD_BYTES + first.readUInt32BE(1) : undefined;
}

/** Encodes a message by its field numbers in etcd's rpc.proto. */
export function encode(...fields: readonly GrpcField[]): Buffer {
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === "number") return Buffer.concat([varint(number << 3), varint(value)]);
      const bytes = typeof value === "string" ? Buffer.from(value) : value;
      return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
    }),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

/** One field of a message that is read: a number, or the bytes of what has a length. */
export interface ReadField {
  readonly number: number;
  /** Zero for what is no number. */
  readonly value: number;
  readonly bytes?: Buffer;
}

const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5];

/** The fields of a message in their order; bytes are not copied. @throws on what is no message */
export function* decode(message: Buffer): Generator<ReadField> {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at];
      if (byte === undefined) throw new Error("a message is cut off");
      at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = number();
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === VARINT) {
      yield { number: field, value: number() };
    } else if (kind === BYTES) {
      const length = number();
      if (at + length > message.length) throw new Error("a message is cut off");
      yield { number: field, value: 0, bytes: message.subarray(at, at + length) };
      at += length;
    } else if (kind === FIXED64 || kind === FIXED32) {
      at += kind === FIXED64 ? 8 : 4;
    } else throw new Error(`a field of kind ${kind}`);
  }
}

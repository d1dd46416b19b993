import { createSocket } from "node:dgram";
import { encodeFrame, type Frame, MESSAGE, OPTION, parseFrame, parseIpv4 } from "../../wire/index.ts";
import { type Line, pass } from "./line.ts";

export interface RelayOptions {
  /** The relay's own address, on the servers' network: the DHCP server answers there (giaddr). */
  readonly address: string;
  /** The DHCP server's. */
  readonly server: string;
  /** 67 for both, unless a test runs where it may not bind that. */
  readonly port?: number;
  readonly line: Line;
  random(): number;
}

/** What a machine asks: one of its DHCP messages, without the fields that are the same in all. */
export interface Question {
  readonly type: number;
  readonly hardware: Uint8Array;
  readonly transaction: number;
  readonly options: ReadonlyMap<number, Uint8Array>;
  readonly clientAddress?: number;
}

/** The switch that all paper servers hang on: a DHCP relay of one socket, which passes each answer to who asked (RFC 1542 §4). */
export interface Relay {
  /** Sends, and resolves with the first answer of one of the types; undefined when none comes in time. */
  ask(question: Question, types: readonly number[], withinMs: number): Promise<Frame | undefined>;
  /** Sends what wants no answer. */
  tell(question: Question): void;
  readonly counts: { sent: number; received: number };
  close(): Promise<void>;
}

const HEARD_BY_DEFAULT = 4 << 20;

export async function openRelay(options: RelayOptions): Promise<Relay> {
  const { address, server, port = 67, line, random } = options;
  const relayAddress = parseIpv4(address) ?? 0;
  const waiting = new Map<number, { readonly types: readonly number[]; answer(frame: Frame): void }>();
  const counts = { sent: 0, received: 0 };
  const socket = createSocket({ type: "udp4", lookup: (host, _family, callback) => callback(null, host, 4) });
  await new Promise<void>((resolve, reject) => socket.once("error", reject).bind(port, address, resolve));
  socket.removeAllListeners("error");
  // what cannot be sent is lost on the way, which a client can bear
  socket.on("error", () => {});
  socket.setRecvBufferSize(HEARD_BY_DEFAULT);
  socket.on("message", (datagram) => pass(line, random, () => heard(datagram)));

  function heard(datagram: Uint8Array): void {
    const frame = parseFrame(datagram);
    if (typeof frame === "string" || frame.op !== 2) return;
    counts.received += 1;
    const one = waiting.get(frame.transactionId);
    if (one?.types.includes(frame.options.get(OPTION.messageType)?.[0] ?? 0)) one.answer(frame);
  }

  function tell(question: Question): void {
    const { type, hardware, transaction, options: given, clientAddress = 0 } = question;
    const { bytes } = encodeFrame({
      op: 1,
      hardwareType: 1,
      hardwareAddress: hardware,
      hops: 1,
      transactionId: transaction,
      seconds: 0,
      flags: 0,
      clientAddress,
      yourAddress: 0,
      serverAddress: 0,
      relayAddress,
      serverName: new Uint8Array(),
      file: new Uint8Array(),
      options: new Map([[OPTION.messageType, Uint8Array.of(type)], ...given]),
    });
    counts.sent += 1;
    pass(line, random, () => socket.send(bytes, port, server, () => {}));
  }

  return {
    ask: (question, types, withinMs) =>
      new Promise((resolve) => {
        const end = (frame: Frame | undefined) => {
          clearTimeout(timer);
          waiting.delete(question.transaction);
          resolve(frame);
        };
        const timer = setTimeout(end, withinMs, undefined);
        waiting.set(question.transaction, { types, answer: end });
        tell(question);
      }),
    tell,
    counts,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** What a boot program and a lease are taken from: RFC 2131 table 3. */
export interface Given {
  readonly address: number;
  readonly server: number;
  readonly next: number;
  readonly bootFile: string;
}

/** The meaning of an OFFER or ACK. */
export function givenBy(frame: Frame): Given {
  const text = Buffer.from(frame.options.get(OPTION.bootFile) ?? frame.file).toString("latin1");
  return { address: frame.yourAddress, server: addressIn(frame), next: frame.serverAddress, bootFile: text.replace(/\0+$/, "") };
}

function addressIn(frame: Frame): number {
  const bytes = frame.options.get(OPTION.serverIdentifier);
  return bytes?.length === 4 ? Buffer.from(bytes).readUInt32BE(0) : 0;
}

export const { discover: DISCOVER, offer: OFFER, request: REQUEST, ack: ACK, nak: NAK, decline: DECLINE } = MESSAGE;

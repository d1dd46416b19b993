import { createSocket } from "node:dgram";
import type { Clock } from "../core/clock.ts";
import { encodeTftp, parseTftp, TFTP_ERROR } from "../wire/index.ts";
import type { Ending } from "./carrier.ts";
import { createTransfer, type TransferEnd, type TransferOptions } from "./tftp-transfer.ts";

export interface SocketTransfer {
  readonly content: Uint8Array;
  readonly options: TransferOptions;
  /** Address of ours it leaves from. */
  readonly from: string;
  readonly to: { readonly address: string; readonly port: number };
}

/** One transfer by a socket of this process: what is done while the native helper is not there. */
export async function sendBySocket({ content, options, from, to }: SocketTransfer, clock: Clock, signal: AbortSignal): Promise<Ending> {
  const now = () => clock.now().getTime();
  const machine = createTransfer(content, options, now);
  const over = new AbortController();
  let due = 0;
  let how: TransferEnd = "cancelled";
  let why = "";
  let strangers = 0;
  let malformed = 0;

  const own = createSocket("udp4");
  const step = (next: { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd }) => {
    if (next.end !== undefined) {
      how = next.end;
      return over.abort();
    }
    if (next.send.length > 0) due = now() + machine.waitMs();
    for (const datagram of next.send) own.send(datagram, to.port, to.address, () => {});
  };
  own.on("error", () => over.abort());
  own.on("message", (datagram, peer) => {
    if (over.signal.aborted) return;
    const packet = parseTftp(datagram);
    if (peer.address !== to.address || peer.port !== to.port) {
      strangers += 1;
      // RFC 1350 §4: a stranger gets an error and disturbs nothing. An error is never answered by one
      if (typeof packet === "string" || packet.kind === "error") return;
      const error = encodeTftp({ kind: "error", code: TFTP_ERROR.unknownTransfer, message: "unknown transfer" });
      return own.send(error, peer.port, peer.address, () => {});
    }
    if (typeof packet === "string") {
      malformed += 1;
      return;
    }
    if (packet.kind === "error") why = packet.message.replaceAll(/[^ -~]/g, "").slice(0, 100);
    step(machine.receive(packet));
  });

  const stopped = AbortSignal.any([signal, over.signal]);
  try {
    await new Promise<void>((resolve, reject) => own.once("error", reject).bind(0, from, resolve));
    step({ send: machine.begin() });
    while (!stopped.aborted) {
      const left = due - now();
      if (left > 0) await clock.sleep(left, stopped).catch(() => {});
      else step(machine.expire());
    }
  } finally {
    own.close();
  }
  return { how, why, bytes: machine.acknowledged(), strangers, malformed };
}

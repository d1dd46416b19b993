import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { readFile } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { encodeTftp, parseTftp, TFTP_ERROR } from "../wire/index.ts";
import type { Refusals } from "./refusals.ts";
import { createTransfer, negotiate, type TransferEnd } from "./tftp-transfer.ts";

export interface TftpServerOptions {
  /** Bound already; its port takes the requests. */
  readonly socket: Socket;
  /** Address of this host that transfers leave from: a ROM drops what comes from another one than it asked. */
  readonly address: string;
  /** Path of a network boot program by name. Nothing else is served. */
  readonly programs: ReadonlyMap<string, string>;
  readonly clock: Clock;
  readonly refusals: Refusals;
  /** Told of every transfer that ends. */
  onEnd?(transfer: {
    readonly file: string;
    readonly peer: string;
    readonly end: TransferEnd;
    readonly bytes: number;
    readonly seconds: number;
  }): void;
}

const TRANSFERS_PER_CLIENT = 8;
const TRANSFERS = 1024;

/** RFC 1350 for reading only, a socket a transfer. Carries network boot programs; all else goes by HTTP. */
export function serveTftp(options: TftpServerOptions): { stop(): void } {
  const { socket, refusals, clock } = options;
  const running = new Map<string, AbortController>();

  const onMessage = (datagram: Buffer, peer: RemoteInfo) => void request(datagram, peer);
  const onError = (error: Error) => refusals.count("tftp: socket", { error: reasonOf(error) });
  socket.on("message", onMessage).on("error", onError);

  async function request(datagram: Buffer, peer: RemoteInfo): Promise<void> {
    const packet = parseTftp(datagram);
    if (typeof packet === "string") return refusals.count(`tftp: ${packet}`, { from: peer.address });
    if (packet.kind === "write") return refuse(peer, TFTP_ERROR.access, "this server is read-only");
    if (packet.kind !== "read") return refuse(peer, TFTP_ERROR.illegal, "not a request");
    if (packet.mode !== "octet") return refuse(peer, TFTP_ERROR.illegal, "only mode octet is served");
    const name = packet.file.replace(/^[/\\]+/, "");
    const path = options.programs.get(name);
    if (path === undefined) return refuse(peer, TFTP_ERROR.notFound, "no such boot program");
    const key = `${peer.address}:${peer.port}`;
    // the request came twice: its transfer is under way and answers by itself
    if (running.has(key)) return;
    const own = [...running.keys()].filter((one) => one.startsWith(`${peer.address}:`)).length;
    if (own >= TRANSFERS_PER_CLIENT || running.size >= TRANSFERS) return refuse(peer, TFTP_ERROR.undefined, "too many transfers at once");
    const ending = new AbortController();
    running.set(key, ending);
    try {
      await transfer(name, await readFile(path), packet.options, peer, ending.signal);
    } catch (error) {
      refusals.count("tftp: failed", { file: name, from: peer.address, error: reasonOf(error) });
    } finally {
      running.delete(key);
    }
  }

  function refuse(peer: RemoteInfo, code: number, message: string): void {
    refusals.count(`tftp: ${message}`, { from: peer.address });
    socket.send(encodeTftp({ kind: "error", code, message }), peer.port, peer.address, () => {});
  }

  async function transfer(
    file: string,
    content: Uint8Array,
    asked: ReadonlyMap<string, string>,
    peer: RemoteInfo,
    signal: AbortSignal,
  ): Promise<void> {
    const granted = negotiate(asked, content.length);
    const machine = createTransfer(content, granted);
    const started = clock.now().getTime();
    const over = new AbortController();
    let due = started + granted.timeoutMs;
    let end: TransferEnd = "aborted";

    const own = createSocket("udp4");
    const send = (datagrams: readonly Uint8Array[]) => {
      for (const datagram of datagrams) own.send(datagram, peer.port, peer.address, () => {});
    };
    const step = (next: { readonly send: readonly Uint8Array[]; readonly end?: TransferEnd }) => {
      if (next.end === undefined) return send(next.send);
      end = next.end;
      over.abort();
    };
    own.on("error", () => over.abort());
    own.on("message", (datagram, from) => {
      if (over.signal.aborted) return;
      // RFC 1350 §4: a stranger gets an error and disturbs nothing
      if (from.address !== peer.address || from.port !== peer.port) {
        own.send(
          encodeTftp({ kind: "error", code: TFTP_ERROR.unknownTransfer, message: "unknown transfer" }),
          from.port,
          from.address,
          () => {},
        );
        return;
      }
      const packet = parseTftp(datagram);
      if (typeof packet === "string") return refusals.count(`tftp: ${packet}`, { from: from.address });
      const next = machine.receive(packet);
      if (next.send.length > 0) due = clock.now().getTime() + granted.timeoutMs;
      step(next);
    });

    const stopped = AbortSignal.any([signal, over.signal]);
    try {
      await new Promise<void>((resolve, reject) => own.once("error", reject).bind(0, options.address, resolve));
      send(machine.begin());
      while (!stopped.aborted) {
        const left = due - clock.now().getTime();
        if (left > 0) {
          await clock.sleep(left, stopped).catch(() => {});
          continue;
        }
        due = clock.now().getTime() + granted.timeoutMs;
        step(machine.expire());
      }
    } finally {
      own.close();
    }
    options.onEnd?.({ file, peer: peer.address, end, bytes: content.length, seconds: (clock.now().getTime() - started) / 1000 });
  }

  return {
    stop() {
      socket.off("message", onMessage);
      for (const ending of running.values()) ending.abort();
    },
  };
}

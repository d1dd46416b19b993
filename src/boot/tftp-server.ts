import type { RemoteInfo, Socket } from "node:dgram";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { encodeTftp, parseTftp, TFTP_ERROR, type TftpPacket } from "../wire/index.ts";
import type { BootFile, BootFiles } from "./boot-files.ts";
import type { Carrier, Ending } from "./carrier.ts";
import type { GrubFile } from "./grub.ts";
import type { Refusals } from "./refusals.ts";
import { sendBySocket } from "./tftp-socket.ts";
import { negotiate } from "./tftp-transfer.ts";

export interface TftpServerOptions {
  /** Bound already; its port takes the requests. */
  readonly socket: Socket;
  /** Address of this host that transfers leave from: a ROM drops what comes from another one than it asked. */
  readonly address: string;
  /** Path of a network boot program by name. Nothing else is served. */
  readonly programs: ReadonlyMap<string, string>;
  /** What GRUB fetches beside itself. */
  grub(name: string, client: string): GrubFile | undefined;
  readonly files: BootFiles;
  readonly carrier: Carrier;
  /** The largest packet that reaches a client whole. */
  mtu(client: string): number;
  readonly clock: Clock;
  readonly refusals: Refusals;
  /** Most at once, of all clients together. */
  readonly transfers?: number;
  /** Told of every transfer that ends. */
  onEnd?(transfer: TftpEnd): void;
}

/** How a transfer ended; `bytes` is what the client acknowledged. */
export interface TftpEnd {
  readonly file: string;
  readonly peer: string;
  readonly end: Ending["how"];
  /** What the client, or this host, says about it; empty when nothing. */
  readonly why: string;
  readonly bytes: number;
  readonly seconds: number;
}

/** A path, or what was made for this client alone. */
interface TftpFile {
  readonly name: string;
  readonly content: string | Buffer;
}

const TRANSFERS_PER_CLIENT = 8;
/** A descriptor and a port each: what boots at once on the largest network there is. */
const TRANSFERS = 8192;

/** RFC 1350 for reading only: decides who gets which file with which options. Carries network boot programs; all else goes by HTTP. */
export function serveTftp(options: TftpServerOptions): { readonly active: number; stop(): void } {
  const { socket, refusals, clock, files, carrier } = options;
  /** By client's address and port. */
  const running = new Map<string, AbortController>();
  const ofClient = new Map<string, number>();

  const onMessage = (datagram: Buffer, peer: RemoteInfo) => void request(datagram, peer);
  const onError = (error: Error) => refusals.count("tftp: socket", { error: reasonOf(error) });
  socket.on("message", onMessage).on("error", onError);

  async function request(datagram: Buffer, peer: RemoteInfo): Promise<void> {
    const packet = parseTftp(datagram);
    if (typeof packet === "string") return refusals.count(`tftp: ${packet}`, { from: peer.address });
    if (packet.kind === "write") return refuse(peer, TFTP_ERROR.access, "this server is read-only");
    // an error is never answered by one: two that did would never end
    if (packet.kind === "error") return refusals.count("tftp: an error out of the blue", { from: peer.address });
    if (packet.kind !== "read") return refuse(peer, TFTP_ERROR.illegal, "not a request");
    if (packet.mode !== "octet") return refuse(peer, TFTP_ERROR.illegal, "only mode octet is served");
    const asked = packet.file.replace(/^[/\\]+/, "");
    const file = options.grub(asked, peer.address) ?? program(asked);
    if (!file) return refuse(peer, TFTP_ERROR.notFound, "no such boot program");
    const key = `${peer.address}:${peer.port}`;
    // its transfer is under way and answers by itself
    if (running.has(key)) return refusals.count("tftp: a request that was answered already", { from: peer.address });
    const own = ofClient.get(peer.address) ?? 0;
    if (own >= TRANSFERS_PER_CLIENT) return refuse(peer, TFTP_ERROR.undefined, "too many transfers at once");
    // firmware gives up at an error, and asks again after silence
    if (running.size >= (options.transfers ?? TRANSFERS)) return refusals.count("tftp: all transfers are taken", { from: peer.address });
    const ending = new AbortController();
    running.set(key, ending);
    ofClient.set(peer.address, own + 1);
    try {
      await transfer(file, packet, peer, ending.signal);
    } catch (error) {
      refusals.count("tftp: failed", { file: file.name, from: peer.address, error: reasonOf(error) });
    } finally {
      running.delete(key);
      const left = (ofClient.get(peer.address) ?? 1) - 1;
      if (left > 0) ofClient.set(peer.address, left);
      else ofClient.delete(peer.address);
    }
  }

  function program(name: string): TftpFile | undefined {
    const content = options.programs.get(name);
    return content === undefined ? undefined : { name, content };
  }

  function refuse(peer: RemoteInfo, code: number, message: string): void {
    refusals.count(`tftp: ${message}`, { from: peer.address });
    socket.send(encodeTftp({ kind: "error", code, message }), peer.port, peer.address, () => {});
  }

  async function transfer(
    { name, content }: TftpFile,
    packet: Extract<TftpPacket, { kind: "read" | "write" }>,
    peer: RemoteInfo,
    signal: AbortSignal,
  ): Promise<void> {
    const file = typeof content === "string" ? await files.look(content) : content;
    if (!file) {
      refusals.count("tftp: the file is gone", { file: name });
      return refuse(peer, TFTP_ERROR.notFound, `${name} is not there any more`);
    }
    const started = clock.now().getTime();
    const ending = await send(file, packet, peer, signal);
    if (ending.how === "failed") {
      refusals.count("tftp: failed", { file: name, from: peer.address, error: ending.why });
      refuse(peer, TFTP_ERROR.undefined, "the file cannot be read");
    }
    if (ending.strangers > 0) refusals.count("tftp: strangers in a transfer", { from: peer.address, datagrams: ending.strangers });
    if (ending.malformed > 0) refusals.count("tftp: malformed in a transfer", { from: peer.address, datagrams: ending.malformed });
    const seconds = (clock.now().getTime() - started) / 1000;
    options.onEnd?.({ file: name, peer: peer.address, end: ending.how, why: ending.why, bytes: ending.bytes, seconds });
  }

  async function send(
    file: BootFile | Buffer,
    packet: Extract<TftpPacket, { kind: "read" | "write" }>,
    peer: RemoteInfo,
    signal: AbortSignal,
  ): Promise<Ending> {
    const size = Buffer.isBuffer(file) ? file.length : file.size;
    const { granted, ...agreed } = negotiate(packet.options, size, options.mtu(peer.address));
    const bySocket = (content: Buffer) =>
      sendBySocket({ content, options: { granted, ...agreed }, from: options.address, to: peer }, clock, signal);
    if (Buffer.isBuffer(file)) return bySocket(file);
    const optionAck = granted.size > 0 ? Buffer.from(encodeTftp({ kind: "optionAck", options: granted })).toString("base64") : "";
    const { path, version } = file;
    const byHelper = carrier.tftp(
      { path, version, from: options.address, to: `${peer.address}:${peer.port}`, ...agreed, optionAck },
      signal,
    );
    if (byHelper) return byHelper;
    const content = await files.content(file);
    if (!content) return { how: "failed", why: "it changed meanwhile, or is too large", bytes: 0, strangers: 0, malformed: 0 };
    return bySocket(content);
  }

  return {
    /** Transfers under way. */
    get active() {
      return running.size;
    },
    stop() {
      socket.off("message", onMessage);
      for (const ending of running.values()) ending.abort();
    },
  };
}

import { createSocket } from "node:dgram";
import { encodeTftp, parseTftp, type TftpPacket } from "../../wire/index.ts";
import { type Line, pass } from "./line.ts";

export interface FetchOptions {
  readonly server: string;
  readonly file: string;
  /** The machine's own address. */
  readonly from: string;
  readonly blockSize: number;
  readonly windowSize: number;
  readonly patienceMs: number;
  /** Falls silent after so many bytes, as who loses power. */
  readonly stopAfter?: number;
  readonly line: Line;
  random(): number;
}

/** Times a client asks again for one block before it gives up. */
const TRIES = 8;

/** Fetches a file as boot firmware does (RFC 1350, 2347, 2348, 7440). @returns its length in bytes */
export async function fetchByTftp(options: FetchOptions): Promise<number> {
  const { server, file, from, blockSize, windowSize, patienceMs, stopAfter = Number.POSITIVE_INFINITY, line, random } = options;
  const socket = createSocket({ type: "udp4", lookup: (host, _family, callback) => callback(null, host, 4) });
  await new Promise<void>((resolve, reject) => socket.once("error", reject).bind(0, from, resolve));
  socket.removeAllListeners("error");
  const asked = new Map([
    ["blksize", String(blockSize)],
    ["windowsize", String(windowSize)],
    ["tsize", "0"],
  ]);
  const request: TftpPacket = { kind: "read", file, mode: "octet", options: asked };

  try {
    return await new Promise<number>((resolve, reject) => {
      let peer: number | undefined;
      let bytes = 0;
      /** The last block that came in order. */
      let last = 0;
      let size = 512;
      let window = 1;
      let tries = 0;
      /** The last good block when a gap was told of: once is enough, each time starts the window anew. */
      let complained = -1;
      let said: TftpPacket = request;
      let timer = setTimeout(again, patienceMs);

      function say(packet: TftpPacket): void {
        said = packet;
        const datagram = encodeTftp(packet);
        pass(line, random, () => {
          // the transfer may be over before a late datagram leaves
          try {
            socket.send(datagram, peer ?? 69, server, () => {});
          } catch {}
        });
      }
      function progress(): void {
        tries = 0;
        clearTimeout(timer);
        timer = setTimeout(again, patienceMs);
      }
      function again(): void {
        tries += 1;
        if (tries > TRIES) reject(new Error(`${file}: no answer after ${bytes} bytes`));
        else {
          timer = setTimeout(again, patienceMs);
          say(said);
        }
      }
      function heard(packet: TftpPacket, port: number): void {
        if (peer !== undefined && port !== peer) return;
        if (packet.kind === "error") {
          clearTimeout(timer);
          reject(new Error(`${file}: ${packet.message}`));
        }
        if (packet.kind === "optionAck" && last === 0) {
          peer = port;
          size = Number(packet.options.get("blksize") ?? 512);
          window = Number(packet.options.get("windowsize") ?? 1);
          progress();
          say({ kind: "ack", block: 0 });
        }
        if (packet.kind !== "data") return;
        peer ??= port;
        // RFC 7440 §4: out of order, the last good block is acknowledged, and the window starts again behind it
        if (packet.block !== ((last + 1) & 0xffff)) {
          if (complained !== last) say({ kind: "ack", block: last & 0xffff });
          complained = last;
          return;
        }
        last += 1;
        bytes += packet.data.length;
        progress();
        const isEnd = packet.data.length < size || bytes >= stopAfter;
        if (packet.data.length < size || last % window === 0) say({ kind: "ack", block: last & 0xffff });
        if (!isEnd) return;
        clearTimeout(timer);
        resolve(bytes);
      }
      socket.on("error", () => {});
      socket.on("message", (datagram, { port }) =>
        pass(line, random, () => {
          const packet = parseTftp(datagram);
          if (typeof packet !== "string") heard(packet, port);
        }),
      );
      say(request);
    });
  } finally {
    socket.close();
  }
}

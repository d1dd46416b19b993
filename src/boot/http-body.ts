import type { FileHandle } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { type BootFile, type BootFiles, openVersion } from "./boot-files.ts";
import type { Carrier } from "./carrier.ts";
import { createTurns } from "./http-turns.ts";

export interface Body {
  readonly file: BootFile;
  readonly offset: number;
  readonly length: number;
  /** Whose turn it is. */
  readonly client: string;
}

/** How much of a body left, and why not all of it. */
export interface Sent {
  readonly bytes: number;
  readonly why?: string;
}

/** Sends the bodies of answers whose head is written and not yet flushed. */
export interface BodySender {
  /** Ends the response, or the connection when not all of the body could be sent. */
  send(body: Body, response: ServerResponse): Promise<Sent>;
}

export interface BodySenderOptions {
  readonly carrier: Carrier;
  readonly files: BootFiles;
  readonly clock: Clock;
}

/** Less than this is one write from memory, sooner done than handed over. */
const SMALL = 64 * 1024;
/** A turn: large writes cost least, and 1,000 clients are round in a second or two. */
const TURN = 1024 * 1024;
const TURNS_AT_ONCE = 16;
/** A turn whose client is slower than this goes on without its place. */
const TURN_MS = 250;
/** What does not take a turn's bytes for so long is gone, or holds us up. */
const STALL_MS = 30_000;

export function createBodySender({ carrier, files, clock }: BodySenderOptions): BodySender {
  const turns = createTurns(TURNS_AT_ONCE);

  return {
    async send(body, response) {
      const { socket } = response.req;
      const hungUp = new AbortController();
      const onClose = () => hungUp.abort();
      if (socket.destroyed) onClose();
      socket.once("close", onClose);
      try {
        if (!(await isItsTurn(response, hungUp.signal))) return { bytes: 0, why: "the client hung up" };
        const sent = (await byHelper(body, response, socket, hungUp.signal)) ?? (await byTurns(body, response, hungUp.signal));
        if (sent.bytes === body.length) response.end();
        else socket.destroy();
        return sent;
      } finally {
        socket.off("close", onClose);
      }
    },
  };

  /** The head goes out by this process, the body by sendfile(2) of the helper. Undefined when that cannot be. */
  async function byHelper(body: Body, response: ServerResponse, socket: Socket, signal: AbortSignal): Promise<Sent | undefined> {
    // what is encrypted here cannot be sent elsewhere
    if (body.length < SMALL || "encrypted" in socket) return undefined;
    response.flushHeaders();
    if (!(await flushed(socket, signal))) return { bytes: 0, why: "the client hung up" };
    const { file, offset, length, client } = body;
    const ending = await carrier.body({ path: file.path, version: file.version, offset, length, client }, socket, signal);
    if (!ending) return undefined;
    return ending.how === "done" ? { bytes: length } : { bytes: ending.bytes, why: ending.why || ending.how };
  }

  async function byTurns({ file, offset, length, client }: Body, response: ServerResponse, signal: AbortSignal): Promise<Sent> {
    const content = await files.content(file);
    const handle = content ? undefined : await openVersion(file);
    if (!content && !handle) return { bytes: 0, why: "it changed meanwhile" };
    try {
      let sent = 0;
      while (sent < length) {
        const end = await turns.take(client);
        try {
          if (signal.aborted) return { bytes: sent, why: "the client hung up" };
          const most = Math.min(TURN, length - sent);
          const part = content ? content.subarray(offset + sent, offset + sent + most) : await read(handle, offset + sent, most);
          if (part.length === 0) return { bytes: sent, why: "it became shorter" };
          const why = await write(response, part, end, signal);
          if (why !== undefined) return { bytes: sent, why };
          sent += part.length;
        } finally {
          end();
        }
      }
      return { bytes: sent };
    } finally {
      await handle?.close();
    }
  }

  /** Why it could not be written; nothing when it was. */
  async function write(response: ServerResponse, part: Buffer, end: () => void, signal: AbortSignal): Promise<string | undefined> {
    const over = new AbortController();
    const written = new Promise<string | undefined>((resolve) => {
      response.write(part, (error) => resolve(error ? error.message : undefined));
      signal.addEventListener("abort", () => resolve("the client hung up"), { once: true, signal: over.signal });
    });
    const slow = clock.sleep(TURN_MS, over.signal).then(
      () => end(),
      () => {},
    );
    const stalled = clock.sleep(STALL_MS, over.signal).then(
      () => "stalled",
      () => undefined,
    );
    const why = await Promise.race([written, stalled]);
    over.abort();
    await slow;
    return why;
  }
}

async function read(handle: FileHandle | undefined, at: number, most: number): Promise<Buffer> {
  if (!handle) return Buffer.alloc(0);
  const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(most), 0, most, at);
  return buffer.subarray(0, bytesRead);
}

/**
 * Waits for the answers before this one on its connection. The helper's last byte lets a client ask again before this process has
 * heard that the body is out.
 */
async function isItsTurn(response: ServerResponse, signal: AbortSignal): Promise<boolean> {
  if (!response.socket && !signal.aborted) {
    await new Promise<void>((resolve) => {
      response.once("socket", () => resolve());
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
  return !signal.aborted;
}

/** Whether all that was written to it has left this process. */
async function flushed(socket: Socket, signal: AbortSignal): Promise<boolean> {
  if (socket.writableLength > 0) {
    await new Promise<void>((resolve) => {
      // "drain" comes only of writes that were too much at once
      socket.write("", () => resolve());
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
  return !signal.aborted;
}

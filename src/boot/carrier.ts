import { type ChildProcess, type SendHandle, spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../observe/index.ts";

/**
 * `ironwright-native carry`: moves the bytes this process has decided to hand out. Node sends a datagram a call and copies what
 * it writes; the helper sends a window of TFTP by one call and HTTP bodies by sendfile(2). Whoever asks while it is away does the
 * work by itself.
 */
export interface Carrier {
  /** Undefined when the helper is not there. */
  tftp(order: TftpOrder, signal: AbortSignal): Promise<Ending> | undefined;
  /** The body of an answer whose head has left already; the connection stays this process's. Undefined when the helper is not there. */
  body(order: BodyOrder, connection: Socket, signal: AbortSignal): Promise<Ending> | undefined;
  stop(): Promise<void>;
}

export interface TftpOrder {
  readonly path: string;
  readonly version: string;
  /** Address of ours the transfer leaves from. */
  readonly from: string;
  /** `10.77.0.11:2070` */
  readonly to: string;
  readonly blockSize: number;
  readonly windowSize: number;
  readonly timeoutMs: number;
  readonly fixedTimeout: boolean;
  /** The datagram that grants options, base64; empty when none is granted. */
  readonly optionAck: string;
  readonly askedSize: boolean;
}

export interface BodyOrder {
  readonly path: string;
  readonly version: string;
  readonly offset: number;
  readonly length: number;
  /** Whose turn it is: connections of one client share its part. */
  readonly client: string;
}

const endingSchema = z.object({
  id: z.int(),
  how: z.enum(["done", "size-probe", "aborted", "timed-out", "unanswered", "cancelled", "broken-off", "stalled", "failed"]),
  bytes: z.int(),
  why: z.string().default(""),
  strangers: z.int().default(0),
  malformed: z.int().default(0),
});
const messageSchema = z.union([z.object({ ready: z.literal(true) }), z.object({ end: endingSchema })]);

/** What became of an order; `bytes` is what the client acknowledged (TFTP) or the kernel took (HTTP). */
export type Ending = Omit<z.output<typeof endingSchema>, "id">;

const FIRST_RESTART_MS = 1_000;
const LAST_RESTART_MS = 30_000;
const LAST_WORDS_MS = 2_000;

export interface CarrierOptions {
  /** Path of `ironwright-native`; without it there is no helper. */
  readonly native: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Resolves when the helper is there, or has failed to be: it is tried again meanwhile. */
export async function startCarrier({ native, clock, log }: CarrierOptions): Promise<Carrier> {
  const open = new Map<number, (ending: Ending) => void>();
  const stopping = new AbortController();
  let child: ChildProcess | undefined;
  let isReady = false;
  let last = 0;

  /** One life of the helper. */
  async function live(program: string, onReady: () => void): Promise<void> {
    const one = spawn(program, ["carry"], { stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "json" });
    child = one;
    one.on("message", (message) => {
      const parsed = messageSchema.safeParse(message);
      if (!parsed.success) return log.warn({ message }, "the native helper said something that is not understood");
      if ("ready" in parsed.data) {
        isReady = true;
        return onReady();
      }
      const { id, ...ending } = parsed.data.end;
      open.get(id)?.(ending);
    });
    const why = await new Promise<string>((resolve) => {
      one.once("exit", (code, signal) => resolve(signal ?? `status ${code}`));
      // also of messages that could not be sent; only one without a process has no exit
      one.on("error", (error) => one.pid === undefined && resolve(error.message));
    });
    isReady = false;
    child = undefined;
    for (const tell of open.values()) tell({ how: "failed", bytes: 0, why: "the native helper ended", strangers: 0, malformed: 0 });
    if (!stopping.signal.aborted) log.warn({ why }, "the native helper ended; files are sent without it until it is back");
  }

  async function keepAlive(program: string, onFirst: () => void): Promise<void> {
    for (let wait = FIRST_RESTART_MS; !stopping.signal.aborted; wait = Math.min(2 * wait, LAST_RESTART_MS)) {
      await live(program, () => {
        wait = FIRST_RESTART_MS;
        onFirst();
      });
      onFirst();
      await clock.sleep(wait, stopping.signal).catch(() => {});
    }
  }

  function ask(kind: "tftp" | "body", order: TftpOrder | BodyOrder, signal: AbortSignal, handle?: SendHandle): Promise<Ending> | undefined {
    const helper = child;
    if (!helper || !isReady || signal.aborted) return undefined;
    last += 1;
    const id = last;
    return new Promise((resolve) => {
      const cancel = () => helper.connected && helper.send({ cancel: { id } }, () => {});
      const tell = (ending: Ending) => {
        open.delete(id);
        signal.removeEventListener("abort", cancel);
        resolve(ending);
      };
      open.set(id, tell);
      signal.addEventListener("abort", cancel, { once: true });
      helper.send({ [kind]: { id, ...order } }, handle, {}, (error) => {
        if (error) tell({ how: "failed", bytes: 0, why: error.message, strangers: 0, malformed: 0 });
      });
    });
  }

  const ended = native === undefined ? Promise.resolve() : new Promise<void>((ready) => void keepAlive(native, ready));
  await ended;
  return {
    tftp: (order, signal) => ask("tftp", order, signal),
    body(order, connection, signal) {
      const handle = handleOf(connection);
      return handle && ask("body", order, signal, handle);
    },
    async stop() {
      stopping.abort();
      const one = child;
      if (!one) return;
      const over = new AbortController();
      const gone = once(one, "exit");
      // the end of the channel is its end; one that hangs must not hold up ours
      if (one.connected) one.disconnect();
      const hard = clock.sleep(LAST_WORDS_MS, over.signal).then(
        () => one.kill("SIGKILL"),
        () => {},
      );
      await gone;
      over.abort();
      await hard;
    },
  };
}

/**
 * The handle under a connection. Sent as such, the descriptor is doubled and the connection stays ours; `send(message, socket)`
 * would take it away, or count it against the server until a Node child says that it is closed.
 */
function handleOf(connection: Socket): SendHandle | undefined {
  return (connection as { readonly _handle?: SendHandle })._handle ?? undefined;
}

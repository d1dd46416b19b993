import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { reasonOf } from "../../core/errors.ts";
import { type AlertName, frameHello, readHello, tlsAlert } from "./client-hello.ts";
import { relay } from "./relay.ts";
import type { RoadCount } from "./tally.ts";
import type { Tenant } from "./tenant.ts";

export interface PeopleOptions {
  readonly find: (serverName: string) => Tenant | undefined;
  readonly log: Logger;
  readonly helloMs?: number;
  readonly holdMs?: number;
}

export interface People {
  server(): Server;
  /** Of connections that named no tenant. */
  strangers(): Pick<RoadCount, "refused">;
}

const HELLO_MS = 10_000;
/** A start from nothing takes some seconds. Go's clients, kubectl among them, wait ten for a handshake; others wait longer. */
const HOLD_MS = 60_000;
const KEEP_ALIVE_MS = 30_000;
/** Who has not said yet whom he wants; beyond, the oldest goes. */
const MOST_UNSAID = 1024;
/** What may come behind a ClientHello before it is answered. */
const MOST_AHEAD = 256 * 1024;

/** People's one listener: whose apiserver is meant is read from the ClientHello, and nothing else is; the bytes pass untouched. */
export function servePeople({ find, log, helloMs = HELLO_MS, holdMs = HOLD_MS }: PeopleOptions): People {
  const unsaid = new Set<Caller>();
  const refused: Record<string, number> = {};
  const count = (reason: string) => {
    refused[reason] = (refused[reason] ?? 0) + 1;
  };

  async function serve(socket: Socket): Promise<void> {
    const caller = callerOf(socket);
    unsaid.add(caller);
    if (unsaid.size > MOST_UNSAID) {
      const [oldest] = unsaid;
      oldest?.end();
    }
    const timer = setTimeout(() => caller.end(), helloMs);
    const said = await caller.serverName();
    clearTimeout(timer);
    unsaid.delete(caller);
    if ("reason" in said) {
      count(said.reason);
      return caller.end(said.alert);
    }
    const tenant = find(said.serverName);
    if (!tenant) {
      count("unknown name");
      return caller.end("unrecognizedName");
    }
    await lead(caller, tenant);
  }

  async function lead(caller: Caller, tenant: Tenant): Promise<void> {
    const { people } = tenant;
    const refusal = people.turnstile.enter();
    if (refusal) {
      people.tally.refuse(refusal);
      return caller.end("internalError");
    }
    people.tally.count(caller.socket, people.turnstile.leave);
    tenant.peopleCame();
    let far: Socket;
    try {
      far = await tenant.callIn(AbortSignal.any([caller.gone, AbortSignal.timeout(holdMs)]));
    } catch (error) {
      if (caller.gone.aborted) return;
      people.tally.refuse("unreachable");
      log.info({ id: tenant.route.id, reason: reasonOf(error) }, "a caller was turned away");
      return caller.end("internalError");
    }
    if (caller.gone.aborted) return void far.destroy();
    far.write(caller.handOver());
    await relay(caller.socket, far);
  }

  return {
    server: () =>
      createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => {
        void serve(socket);
      }),
    strangers: () => ({ refused: { ...refused } }),
  };
}

/** Somebody who is read from until it is clear where the bytes go. */
interface Caller {
  readonly socket: Socket;
  /** Aborts when they hang up, or send too much before they are answered. */
  readonly gone: AbortSignal;
  serverName(): Promise<{ readonly serverName: string } | { readonly alert?: AlertName | undefined; readonly reason: string }>;
  /** All they sent so far; what comes from now on is for whoever reads the socket next. */
  handOver(): Buffer;
  end(alert?: AlertName): void;
}

function callerOf(socket: Socket): Caller {
  const gone = new AbortController();
  let chunks: Buffer[] = [];
  let size = 0;
  let look = () => {};
  const leave = () => {
    gone.abort(new Error("the caller hung up"));
    socket.destroy();
    look();
  };
  const take = (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MOST_AHEAD) leave();
    else look();
  };
  socket.on("error", leave);
  socket.once("close", leave);
  socket.on("data", take);
  // who has nothing more to say before the server's first word has gone
  socket.once("end", leave);

  const whole = (): Buffer => {
    const all = chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks, size);
    chunks = [all];
    return all;
  };
  return {
    socket,
    gone: gone.signal,
    serverName: () =>
      new Promise((resolve) => {
        let atLeast = 1;
        look = () => {
          if (gone.signal.aborted) return resolve({ reason: size === 0 ? "nothing said" : "no whole ClientHello" });
          if (size < atLeast) return;
          const frame = frameHello(whole());
          if (frame.kind === "more") {
            atLeast = frame.atLeast;
            return;
          }
          look = () => {};
          if (frame.kind === "malformed") {
            const isTls = chunks[0]?.[0] === 22;
            return resolve({ reason: "no ClientHello", ...(isTls ? { alert: "decodeError" } : {}) });
          }
          const meaning = readHello(frame.body);
          if (meaning.kind === "malformed") return resolve({ alert: "decodeError", reason: "no ClientHello" });
          const { serverName } = meaning.hello;
          resolve(serverName === undefined ? { alert: "unrecognizedName", reason: "no name" } : { serverName });
        };
        look();
      }),
    handOver() {
      socket.pause();
      socket.off("data", take);
      socket.off("end", leave);
      socket.off("error", leave);
      socket.off("close", leave);
      look = () => {};
      return whole();
    },
    end(alert) {
      if (alert && !socket.destroyed) {
        socket.off("data", take);
        socket.resume();
        socket.end(tlsAlert(alert), () => socket.destroySoon());
        socket.setTimeout(1_000, () => socket.destroy());
      } else leave();
    },
  };
}

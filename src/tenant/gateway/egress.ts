import { createServer, type Server } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { reasonOf } from "../../core/errors.ts";
import type { Dialer } from "./dialer.ts";
import { type EgressPolicy, mayDial } from "./egress-policy.ts";
import { relay } from "./relay.ts";
import type { Road } from "./tenant.ts";
import { turnstile } from "./turnstile.ts";

export interface EgressOptions {
  readonly policy: () => EgressPolicy | undefined;
  readonly road: Road;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A target that was refused: when last, and how often since it is kept. */
export interface RefusedDial {
  readonly at: string;
  readonly target: string;
  readonly reason: string;
  readonly times: number;
}

export interface Egress {
  server(): Server;
  /** The policy changed: what it no longer allows is closed. */
  update(): void;
  lastRefused(): readonly RefusedDial[];
  close(): void;
}

const HEADERS_MS = 2_000;
/** Who has not asked for anything yet, beyond those whose dials are allowed at a time. */
const MOST_UNASKED = 64;
const DIAL_MS = 15_000;
const KEPT = 16;
/** A hostile tenant writes no log of ours full. */
const LOGGED = { connections: Number.MAX_SAFE_INTEGER, perSecond: 5, burst: 50 };

/**
 * The only way out of a cell: an apiserver asks by HTTP CONNECT (Kubernetes' EgressSelector, `HTTPConnect` over a Unix socket) for
 * whatever it wants to dial, and gets it, or a 403 whose status line says why not.
 */
export function serveEgress({ policy, road, dialer, clock, log }: EgressOptions): Egress {
  /** By target, the one that was refused last at the end. */
  const lastRefused = new Map<string, RefusedDial>();
  const logged = turnstile(
    () => LOGGED,
    () => performance.now(),
  );
  let unlogged = 0;
  const tunnels = new Map<Socket, { readonly host: string; readonly port: number }>();

  function refuse(target: string, reason: string): void {
    road.tally.refuse("not allowed");
    const shown = target.slice(0, 200);
    const times = (lastRefused.get(shown)?.times ?? 0) + 1;
    lastRefused.delete(shown);
    lastRefused.set(shown, { at: clock.now().toISOString(), target: shown, reason, times });
    const [oldest] = lastRefused.keys();
    if (lastRefused.size > KEPT && oldest !== undefined) lastRefused.delete(oldest);
    if (logged.enter()) {
      unlogged += 1;
      return;
    }
    log.warn({ target: shown, reason, ...(unlogged > 0 ? { unlogged } : {}) }, "egress refused");
    unlogged = 0;
  }

  async function tunnel(socket: Socket, target: string, head: Buffer): Promise<void> {
    const crowded = road.turnstile.enter();
    if (crowded) {
      road.tally.refuse(crowded);
      return answer(socket, 429, crowded);
    }
    road.tally.count(socket, road.turnstile.leave);
    const at = authority(target);
    const rules = policy();
    const verdict = at && rules ? mayDial(rules, at.host, at.port) : ({ allow: false, reason: "it is no host and port" } as const);
    if (!at || !verdict.allow) {
      const reason = verdict.allow ? "it is no host and port" : verdict.reason;
      refuse(target, reason);
      return answer(socket, 403, reason);
    }
    tunnels.set(socket, at);
    const gone = new AbortController();
    socket.once("close", () => {
      tunnels.delete(socket);
      gone.abort(new Error("the caller hung up"));
    });
    let far: Duplex;
    try {
      far = await dialer.dial(verdict, AbortSignal.any([gone.signal, AbortSignal.timeout(DIAL_MS)]));
    } catch (error) {
      if (gone.signal.aborted) return;
      road.tally.refuse("unreachable");
      log.info({ target, reason: reasonOf(error) }, "egress: no way to it");
      return answer(socket, 502, reasonOf(error));
    }
    if (socket.destroyed) return void far.destroy();
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) far.write(head);
    await relay(socket, far);
  }

  let serving: Server | undefined;
  function bound(): void {
    if (serving) serving.maxConnections = road.turnstile.most() + MOST_UNASKED;
  }

  return {
    server() {
      const server = createServer(
        { headersTimeout: HEADERS_MS, requestTimeout: HEADERS_MS, connectionsCheckingInterval: HEADERS_MS / 2 },
        (_, response) => {
          road.tally.refuse("no CONNECT");
          response.writeHead(405, { connection: "close" }).end();
        },
      );
      serving = server;
      bound();
      server.on("drop", () => road.tally.refuse("too many that ask for nothing"));
      server.on("connect", (request, stream: Duplex, head: Buffer) => {
        if (!(stream instanceof Socket)) return void stream.destroy();
        stream.on("error", () => {});
        void tunnel(stream, request.url ?? "", head);
      });
      server.on("clientError", (error: NodeJS.ErrnoException, stream) => {
        if (error.code !== "ECONNRESET") road.tally.refuse(error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "nothing asked" : "no HTTP");
        stream.destroy();
      });
      return server;
    },
    update() {
      bound();
      const rules = policy();
      for (const [socket, { host, port }] of tunnels) {
        if (!rules || !mayDial(rules, host, port).allow) socket.destroy();
      }
      dialer.keepOnly(rules?.nodes ?? []);
    },
    lastRefused: () => [...lastRefused.values()],
    close: () => dialer.keepOnly([]),
  };
}

/** RFC 9110 §9.3.6: `host:port`, an IPv6 address in brackets. */
function authority(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%]{2,64})\]|([^\s:[\]@/?#]{1,253})):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  return host === undefined ? undefined : { host, port: Number(match?.[3]) };
}

/** The status line is all that an apiserver shows its caller. */
function answer(socket: Socket, status: 403 | 429 | 502, reason: string): void {
  const phrase = reason.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 200);
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroySoon());
}

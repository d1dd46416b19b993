import { createServer, type Server, type Socket } from "node:net";
import { relay } from "./relay.ts";
import type { RouteState } from "./route.ts";
import type { Road } from "./tenant.ts";

export interface NodePortOptions {
  readonly state: () => RouteState;
  readonly road: Road;
  readonly connect: () => Promise<Socket>;
  readonly came: () => void;
}

const KEEP_ALIVE_MS = 30_000;

/** Where a tenant's nodes and pods come in: bytes go to its apiserver as they are. It never wakes anybody. */
export function serveNodePort({ state, road, connect, came }: NodePortOptions): () => Server {
  async function serve(socket: Socket): Promise<void> {
    const refusal = closedTo(socket.remoteAddress, state()) ?? road.turnstile.enter();
    if (refusal) {
      road.tally.refuse(refusal);
      socket.resetAndDestroy();
      return;
    }
    road.tally.count(socket);
    came();
    try {
      const far = await connect();
      await relay(socket, far);
    } catch {
      road.tally.refuse("unreachable");
      socket.resetAndDestroy();
    }
  }
  return () =>
    createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => {
      socket.on("error", () => {});
      void serve(socket);
    });
}

/** The daemon comes by this port as well, to see that what it is about to open to nodes has today's rules. */
export function closedTo(from: string | undefined, state: RouteState): string | undefined {
  if (state === "opening") return from !== undefined && LOOPBACK.test(from) ? undefined : "opening";
  return state === "asleep" ? "asleep" : undefined;
}

const LOOPBACK = /^(::ffff:)?127\./;

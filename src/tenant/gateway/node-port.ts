import { createServer, type Server, type Socket } from "node:net";
import { relay } from "./relay.ts";
import type { Road } from "./tenant.ts";

export interface NodePortOptions {
  readonly isAsleep: () => boolean;
  readonly road: Road;
  readonly connect: () => Promise<Socket>;
  readonly came: () => void;
}

const KEEP_ALIVE_MS = 30_000;

/** Where a tenant's nodes and pods come in: bytes go to its apiserver as they are. It never wakes anybody. */
export function serveNodePort({ isAsleep, road, connect, came }: NodePortOptions): () => Server {
  async function serve(socket: Socket): Promise<void> {
    const refusal = isAsleep() ? "asleep" : road.turnstile.enter();
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

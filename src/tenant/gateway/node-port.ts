import { createServer, type Server, type Socket } from "node:net";
import type { AddressTurnstile } from "./address-turnstile.ts";
import { relay } from "./relay.ts";
import type { RouteState } from "./route.ts";
import type { Tally } from "./tally.ts";

export interface NodePortOptions {
  readonly state: () => RouteState;
  readonly turnstile: AddressTurnstile;
  readonly tally: Tally;
  readonly connect: () => Promise<Socket>;
  readonly came: () => void;
}

const KEEP_ALIVE_MS = 30_000;

/** Where a tenant's nodes and pods come in: bytes go to its apiserver as they are. It never wakes anybody. */
export function serveNodePort({ state, turnstile, tally, connect, came }: NodePortOptions): () => Server {
  async function serve(socket: Socket): Promise<void> {
    const from = socket.remoteAddress;
    // gone already
    if (from === undefined) return void socket.destroy();
    const now = state();
    const entered = now === "awake" ? turnstile.enter(from) : now;
    if (typeof entered === "string") {
      tally.refuse(entered);
      socket.resetAndDestroy();
      return;
    }
    tally.count(socket, entered);
    came();
    try {
      const far = await connect();
      await relay(socket, far);
    } catch {
      tally.refuse("unreachable");
      socket.resetAndDestroy();
    }
  }
  return () =>
    createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => {
      socket.on("error", () => {});
      void serve(socket);
    });
}

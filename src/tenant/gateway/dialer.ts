import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { orAborted } from "../../core/aborted.ts";
import { reasonOf } from "../../core/errors.ts";
import type { EgressNode, SshRoad, Verdict } from "./egress-policy.ts";

/** A session with a node that forwards. */
export interface NodeSession {
  readonly alive: boolean;
  /** A connection from the node to an address. */
  forward(address: string, port: number, signal: AbortSignal): Promise<Duplex>;
  close(): void;
}

export type ConnectNode = (road: SshRoad, signal: AbortSignal) => Promise<NodeSession>;

export interface Dialer {
  dial(verdict: Extract<Verdict, { allow: true }>, signal: AbortSignal): Promise<Duplex>;
  /** Ends sessions with nodes that are not among these. */
  keepOnly(nodes: readonly EgressNode[]): void;
}

interface Held {
  readonly session: Promise<NodeSession>;
  /** Once it is there. */
  made?: NodeSession;
}

/** Nodes that are tried for one connection; one that is not the last has so long, for what is behind another may answer nothing here. */
const MOST_TRIED = 3;
const TRY_MS = 4_000;
const CONNECT_MS = 15_000;

/** Dials what a policy allowed: a node directly, what lies behind it through a session with it, which is kept. */
export function dialer(connectNode: ConnectNode, tryMs = TRY_MS): Dialer {
  const sessions = new Map<string, Held>();

  /** One for all callers: none of them ends it by giving up, and none begins another while it is made. */
  function session(road: SshRoad): Promise<NodeSession> {
    const key = keyOf(road);
    const known = sessions.get(key);
    if (known && known.made?.alive !== false) return known.session;
    const mine: Held = { session: connectNode(road, AbortSignal.timeout(CONNECT_MS)) };
    sessions.set(key, mine);
    mine.session.then(
      (made) => {
        mine.made = made;
      },
      () => {
        if (sessions.get(key) === mine) sessions.delete(key);
      },
    );
    return mine.session;
  }

  return {
    async dial(verdict, signal) {
      if (verdict.by === "direct") return connectDirectly(verdict.address, verdict.port, signal);
      const reasons: string[] = [];
      const nodes = verdict.nodes.flatMap(({ name, ssh }) => (ssh ? [{ name, ssh }] : [])).slice(0, MOST_TRIED);
      for (const { name, ssh } of nodes) {
        const bounded = name === nodes.at(-1)?.name ? signal : AbortSignal.any([signal, AbortSignal.timeout(tryMs)]);
        try {
          return await (await orAborted(session(ssh), bounded)).forward(verdict.address, verdict.port, bounded);
        } catch (error) {
          signal.throwIfAborted();
          reasons.push(`${name}: ${reasonOf(error)}`);
        }
      }
      throw new Error(`no node leads to ${verdict.address}:${verdict.port}: ${reasons.join("; ")}`);
    },
    keepOnly(nodes) {
      const wanted = new Set(nodes.flatMap(({ ssh }) => (ssh ? [keyOf(ssh)] : [])));
      for (const [key, held] of sessions) {
        if (wanted.has(key)) continue;
        sessions.delete(key);
        held.session.then(
          (one) => one.close(),
          () => {},
        );
      }
    },
  };
}

function keyOf({ address, port, user, keyFile, hostKey }: SshRoad): string {
  return JSON.stringify([address, port, user, keyFile, hostKey]);
}

function connectDirectly(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
    const aborted = () => socket.destroy(signal.reason instanceof Error ? signal.reason : new Error("given up"));
    signal.addEventListener("abort", aborted, { once: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      signal.removeEventListener("abort", aborted);
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
    socket.once("close", () => signal.removeEventListener("abort", aborted));
    if (signal.aborted) aborted();
  });
}

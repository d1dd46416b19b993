import { connect, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { orAborted } from "../../core/aborted.ts";
import type { Clock } from "../../core/clock.ts";
import { reasonOf } from "../../core/errors.ts";
import { type TenantRef, tenantText } from "../../core/names.ts";
import { addressTurnstile } from "./address-turnstile.ts";
import type { Dialer } from "./dialer.ts";
import { type RefusedDial, serveEgress } from "./egress.ts";
import type { EgressPolicy } from "./egress-policy.ts";
import { keepListening, type Listening } from "./listening.ts";
import { serveNodePort } from "./node-port.ts";
import { afterPut, type Held, type Route, type RouteState, stateOf } from "./route.ts";
import { type RoadCount, type Tally, tally } from "./tally.ts";
import { type Turnstile, turnstile } from "./turnstile.ts";

export interface Surroundings {
  readonly clock: Clock;
  readonly log: Logger;
  /** Where nodes and pods come in. */
  readonly nodesAddress: string;
  readonly wake: (cell: string) => Promise<void>;
  readonly dialer: () => Dialer;
  /** Whose an address is that is not this tenant's. */
  readonly foreign: (id: string, address: string) => string | undefined;
  /** The record is to be written anew. */
  readonly changed: (held: Held) => void;
}

/** One tenant's traffic, for the daemon to read. */
export interface TenantTraffic {
  readonly id: string;
  readonly ref: TenantRef;
  readonly state: RouteState;
  /** A caller woke it, and the daemon still says that it sleeps. */
  readonly woken: boolean;
  readonly people: RoadCount;
  readonly nodes: RoadCount;
  readonly egress: RoadCount;
  /** Callers who wait until it is awake. */
  readonly held: number;
  readonly wakes: { readonly done: number; readonly failed: number; readonly lastMs?: number; readonly lastReason?: string };
  /** When people, and nodes, last connected. */
  readonly lastPeopleAt?: string;
  readonly lastNodeAt?: string;
  readonly lastRefusedDials: readonly RefusedDial[];
  /** What it cannot listen on now, and why; it is tried again by itself. */
  readonly problems: readonly string[];
}

export interface Road {
  readonly turnstile: Turnstile;
  readonly tally: Tally;
}

export interface Tenant {
  readonly route: Route;
  readonly state: RouteState;
  readonly people: Road;
  update(route: Route): void;
  /** Resolves when what the route asks for is listened on. @throws why not */
  listening(): Promise<void>;
  /**
   * A connection to its apiserver's door, made by itself for people: a sleeper is woken, an apiserver that just restarts is waited for.
   * @throws why not
   */
  callIn(signal: AbortSignal): Promise<Socket>;
  peopleCame(): void;
  traffic(): TenantTraffic;
  /** Resolves when nothing is open and nothing is listened on. */
  close(): Promise<void>;
}

/** Callers of one sleeper: each is a socket and some kilobytes. */
const MOST_HELD = 128;
const CONNECT_MS = 5_000;

/** The runtime of one route: its listeners, its counts, and the holding of callers while it wakes. */
export function openTenant(first: Held, at: Surroundings): Tenant {
  const { clock, log: parent } = at;
  const log = parent.child({ tenant: tenantText(first.route.ref), id: first.route.id });
  let held = first;
  let waiting = 0;
  let wakes: TenantTraffic["wakes"] = { done: 0, failed: 0 };
  let lastPeopleAt: string | undefined;
  let lastNodeAt: string | undefined;
  const now = () => performance.now();
  const people = road("people");
  const nodes = tally();
  const outward = road("egress");

  function road(of: "people" | "egress"): Road {
    return { turnstile: turnstile(() => held.route.limits[of], now), tally: tally() };
  }

  function isNode(address: string): boolean {
    return held.route.egress?.nodes.some(({ addresses }) => addresses.includes(address)) ?? false;
  }

  function policy(): EgressPolicy | undefined {
    const { egress, id } = held.route;
    return egress && { ...egress, foreign: (address) => at.foreign(id, address) };
  }

  const egress = serveEgress({ policy, road: outward, dialer: at.dialer(), clock, log });
  const nodePort = serveNodePort({
    state: () => stateOf(held),
    turnstile: addressTurnstile(() => held.route.limits.nodes, isNode, now),
    tally: nodes,
    connect: () => connectTo(held.route.api),
    came: () => {
      lastNodeAt = clock.now().toISOString();
    },
  });
  let listeners = new Map<string, Listening>();

  function listen(): void {
    const { port, egress: outwards } = held.route;
    const before = listeners;
    listeners = new Map();
    const want = (key: string, server: () => Server, where: Parameters<typeof keepListening>[1]) =>
      listeners.set(key, before.get(key) ?? keepListening(server, where, { clock, log }));
    if (port !== undefined) want(`port ${port}`, nodePort, { host: at.nodesAddress, port });
    if (outwards) want(`socket ${outwards.socket}`, egress.server, { path: outwards.socket });
    for (const [key, one] of before) if (!listeners.has(key)) void one.close();
  }
  listen();

  let waking: Promise<void> | undefined;
  /** Once for all who wait. */
  function wakeUp(): Promise<void> {
    waking ??= wake().finally(() => {
      waking = undefined;
    });
    return waking;
  }

  async function wake(): Promise<void> {
    const began = now();
    try {
      await at.wake(held.route.cell);
    } catch (error) {
      wakes = { ...wakes, failed: wakes.failed + 1, lastReason: reasonOf(error) };
      log.warn({ reason: reasonOf(error) }, "it did not wake for its callers");
      throw error;
    }
    if (stateOf(held) !== "asleep") return;
    const lastMs = Math.round(now() - began);
    wakes = { ...wakes, done: wakes.done + 1, lastMs };
    log.info({ ms: lastMs }, "woken by a caller");
    // whoever hung up meanwhile keeps it from no sleep
    if (waiting === 0) return;
    held = { ...held, woken: true };
    at.changed(held);
  }

  async function holdUntilAwake(signal: AbortSignal): Promise<void> {
    if (waiting >= MOST_HELD) throw new Error(`${MOST_HELD} callers wait for it already`);
    waiting += 1;
    try {
      await orAborted(wakeUp(), signal);
    } finally {
      waiting -= 1;
    }
  }

  return {
    get route() {
      return held.route;
    },
    get state() {
      return stateOf(held);
    },
    people,

    update(route) {
      const before = stateOf(held);
      held = afterPut(held, route);
      listen();
      egress.update();
      if (before !== "asleep" && stateOf(held) === "asleep") {
        // whoever stayed would wait for bytes that nobody sends
        for (const one of [people.tally, nodes, outward.tally]) one.cut();
        egress.close();
      }
    },

    async listening() {
      await Promise.all([...listeners.values()].map((one) => one.ready()));
    },

    async callIn(signal) {
      if (stateOf(held) === "asleep") await holdUntilAwake(signal);
      try {
        return await connectTo(held.route.api);
      } catch {
        // its door restarts, or it was put to sleep just now: who wakes it waits for either
        await holdUntilAwake(signal);
        return connectTo(held.route.api);
      }
    },

    peopleCame() {
      lastPeopleAt = clock.now().toISOString();
    },

    traffic: () => ({
      id: held.route.id,
      ref: held.route.ref,
      state: stateOf(held),
      woken: held.woken,
      people: people.tally.read(),
      nodes: nodes.read(),
      egress: outward.tally.read(),
      held: waiting,
      wakes,
      ...(lastPeopleAt ? { lastPeopleAt } : {}),
      ...(lastNodeAt ? { lastNodeAt } : {}),
      lastRefusedDials: egress.lastRefused(),
      problems: [...listeners.values()].flatMap((one) => one.problem() ?? []),
    }),

    async close() {
      const closed = [...listeners.values()].map((one) => one.close());
      listeners = new Map();
      for (const one of [people.tally, nodes, outward.tally]) one.cut();
      egress.close();
      await Promise.all(closed);
    },
  };
}

function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const timer = setTimeout(() => socket.destroy(new Error(`${path} does not take a connection`)), CONNECT_MS);
    socket.once("close", () => clearTimeout(timer));
    socket.once("error", reject);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", reject);
      // until somebody else listens
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

import { createServer } from "node:http";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { IronwrightError, reasonOf } from "../../core/errors.ts";
import { turns } from "../../core/turns.ts";
import { type Endpoint, endpoint, serving } from "../../ipc/index.ts";
import { sameAddress } from "../cidr.ts";
import { type ConnectNode, dialer } from "./dialer.ts";
import { keepListening, type Listening } from "./listening.ts";
import { servePeople } from "./people.ts";
import { collision, type Held, parseRoute, type Route } from "./route.ts";
import { routeStore } from "./store.ts";
import { openTenant, type Tenant, type TenantTraffic } from "./tenant.ts";
import { waker } from "./waker.ts";

export interface GatewayOptions {
  /** Its own: the control socket `gateway.sock` and the routes it keeps. */
  readonly dir: string;
  readonly people: { readonly address: string; readonly port: number };
  /** Where ports of tenants are listened on. */
  readonly nodesAddress: string;
  /** The supervisor's socket for waking. */
  readonly wakeSocket: string;
  readonly connectNode: ConnectNode;
  readonly clock: Clock;
  readonly log: Logger;
  /** This host's addresses; the kernel's by default. */
  readonly hostAddresses?: () => readonly string[];
}

/** What the gateway is and does as a whole. */
export interface GatewayState {
  readonly pid: number;
  /** Where people come in, once it is listened on. */
  readonly peoplePort?: number;
  /** Connections of people that named no tenant, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

export interface Gateway {
  readonly socket: string;
  state(): GatewayState;
  /** Of all, or of the one that has this id. */
  list(id?: string): readonly TenantTraffic[];
  put(route: unknown): Promise<TenantTraffic>;
  remove(id: string): Promise<void>;
  /** This node is dialled no more, and what is open to it alone is closed. What nobody knows is success. */
  dropNode(id: string, node: string): Promise<void>;
  /** Closes everything; what is kept on disk stays. */
  stop(): Promise<void>;
}

/** Long enough that a burst of dials asks the kernel once. */
const ADDRESSES_MS = 5_000;
/** Of some thousands of nodes. */
const LARGEST_ROUTE_BYTES = 4 * 2 ** 20;

/**
 * What people, nodes and egress of all tenants go through. Serves the control API and every kept route when it resolves; a port that
 * cannot be had is tried again and is a problem in the answers meanwhile.
 */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { dir, clock, log, nodesAddress } = options;
  const store = routeStore(join(dir, "routes"), log);
  const tenants = new Map<string, Tenant>();
  const byName = new Map<string, Tenant>();
  const wake = waker(options.wakeSocket);
  const own = cached(options.hostAddresses ?? kernelsAddresses, ADDRESSES_MS);

  function foreign(id: string, address: string): string | undefined {
    if (own().some((one) => sameAddress(one, address))) return "an address of this host";
    for (const { route } of tenants.values()) {
      if (route.id === id || !route.egress) continue;
      if (route.egress.nodes.some((node) => node.addresses.includes(address))) return "a node of another tenant";
    }
    return undefined;
  }

  function open(held: Held): Tenant {
    const tenant = openTenant(held, {
      clock,
      log,
      nodesAddress,
      wake,
      dialer: () => dialer(options.connectNode),
      foreign,
      changed: (changed) => void keep(changed),
    });
    tenants.set(held.route.id, tenant);
    for (const name of held.route.names) byName.set(name, tenant);
    return tenant;
  }

  /** What is written last is what was said last; with a full disk, what is in memory serves on. */
  let writing: Promise<void> = Promise.resolve();
  let stopped = false;
  function keep(held: Held): Promise<void> {
    writing = writing
      .then(() => (tenants.has(held.route.id) && !stopped ? store.write(held) : undefined))
      .catch((error: unknown) => log.error({ id: held.route.id, reason: reasonOf(error) }, "a route could not be written down"));
    return writing;
  }

  function rename(tenant: Tenant, before: readonly string[]): void {
    for (const name of before) if (byName.get(name) === tenant) byName.delete(name);
    for (const name of tenant.route.names) byName.set(name, tenant);
  }

  async function put(value: unknown): Promise<TenantTraffic> {
    const route = parseRoute(value);
    const taken = collision(
      route,
      [...tenants.values()].map((one) => one.route),
    );
    if (taken) throw new IronwrightError("IRW_GATEWAY_ROUTE", { tenant: route.id, problem: taken });
    const before = tenants.get(route.id);
    const names = before?.route.names ?? [];
    before?.update(route);
    const tenant = before ?? open({ route, woken: false });
    if (before) rename(before, names);
    await keep({ route, woken: tenant.traffic().woken });
    await tenant.listening().catch((error: unknown) => {
      throw new IronwrightError("IRW_GATEWAY_ROUTE", { tenant: route.id, problem: reasonOf(error) }, error);
    });
    return tenant.traffic();
  }

  async function dropNode(id: string, node: string): Promise<void> {
    const route = tenants.get(id)?.route;
    if (!route?.egress?.nodes.some(({ name }) => name === node)) return;
    await put({ ...route, egress: { ...route.egress, nodes: route.egress.nodes.filter(({ name }) => name !== node) } });
  }

  async function remove(id: string): Promise<void> {
    const tenant = tenants.get(id);
    tenants.delete(id);
    await writing;
    store.remove(id);
    if (!tenant) return;
    for (const name of tenant.route.names) byName.delete(name);
    await tenant.close();
    log.info({ id }, "a route is gone");
  }

  /** A route is opened when the one before it of that name is closed. */
  const inTurn = turns();

  for (const held of store.read()) open(held);
  const people = servePeople({ find: (name) => byName.get(name), log });
  const front = keepListening(people.server, { host: options.people.address, port: options.people.port }, { clock, log });

  const gateway: Gateway = {
    socket: join(dir, "gateway.sock"),
    state() {
      const [problem, peoplePort] = [front.problem(), front.port()];
      return {
        pid: process.pid,
        ...(peoplePort === undefined ? {} : { peoplePort }),
        refused: people.strangers().refused,
        problems: problem ? [problem] : [],
      };
    },
    list: (id) => [...tenants.values()].filter(({ route }) => id === undefined || route.id === id).map((one) => one.traffic()),
    put: (route) => inTurn(() => put(route)),
    remove: (id) => inTurn(() => remove(id)),
    dropNode: (id, node) => inTurn(() => dropNode(id, node)),
    stop: () =>
      inTurn(async () => {
        stopped = true;
        await Promise.all([control.close(), front.close(), writing, ...[...tenants.values()].map((one) => one.close())]);
        log.info("the gateway ends");
      }),
  };
  const control: Listening = keepListening(
    () => createServer(serving(endpoints(gateway), { log, largestBytes: LARGEST_ROUTE_BYTES })),
    { path: gateway.socket },
    { clock, log },
  );
  await control.ready();
  await front.ready().catch(() => {});
  log.info({ people: front.port() ?? options.people.port, tenants: tenants.size }, "the gateway serves");
  return gateway;
}

function endpoints(gateway: Gateway): readonly Endpoint[] {
  return [
    endpoint("GET", /^\/$/, async () => gateway.state()),
    endpoint("GET", /^\/tenants$/, async ({ query }) => gateway.list(query.get("id") ?? undefined)),
    endpoint("PUT", /^\/tenants\/([^/]+)$/, async ({ name, body }) => gateway.put({ ...(body as Partial<Route>), id: name })),
    endpoint("DELETE", /^\/tenants\/([^/]+)$/, async ({ name }) => gateway.remove(name)),
    endpoint("DELETE", /^\/tenants\/([^/]+\/nodes\/[^/]+)$/, async ({ name }) => {
      const [id = "", node = ""] = name.split("/nodes/");
      await gateway.dropNode(id, node);
    }),
  ];
}

function kernelsAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address.replace(/%.*$/, "")));
}

function cached<T>(read: () => T, forMs: number): () => T {
  let value: { readonly at: number; readonly is: T } | undefined;
  return () => {
    const now = performance.now();
    if (!value || now - value.at > forMs) value = { at: now, is: read() };
    return value.is;
  };
}

import ipaddr from "ipaddr.js";
import { z } from "zod";
import { IronwrightError } from "../../core/errors.ts";
import { type TenantRef, tenantText } from "../../core/names.ts";
import { fitsSocket, LONGEST_SOCKET_PATH } from "../../core/unix-socket.ts";
import { parseNetwork } from "../cidr.ts";

const path = z.string().startsWith("/", "must be an absolute path");
const socketPath = path.refine(fitsSocket, `the path of a socket has at most ${LONGEST_SOCKET_PATH} bytes`);
const port = z.int().min(1).max(65535);
const address = z.union([z.ipv4(), z.ipv6().transform((text) => ipaddr.parse(text).toString())]);
const network = z.string().refine((text) => parseNetwork(text) !== undefined, "must be an IPv4 network such as 10.244.0.0/16");
const label = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be letters, digits and dashes (RFC 1123 label)");
const hostName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/, "must be a DNS name in lower case");

const limitsOf = (connections: number, perSecond: number, burst: number) =>
  z.strictObject({
    /** At a time. */
    connections: z.int().min(1).default(connections),
    /** New ones, over time; and at once. */
    perSecond: z.number().positive().default(perSecond),
    burst: z.int().min(1).default(burst),
  });
const limitsSchema = limitsOf(256, 50, 100);

const nodeLimitsSchema = limitsSchema.extend({
  /** Of what one address takes, of all that are no node's. */
  perAddress: limitsOf(64, 20, 60).prefault({}),
  /** Of each node's own address, besides. */
  perNode: limitsOf(256, 50, 100).prefault({}),
});

const nodeSchema = z.strictObject({
  name: z.string().min(1).max(253),
  addresses: z.array(address),
  podCIDR: network.optional(),
  ssh: z
    .strictObject({
      address,
      port: port.default(22),
      user: z.string().min(1).max(64).default("root"),
      keyFile: path,
      hostKey: z.string().startsWith("ssh-ed25519 ", "must be an ed25519 key as known_hosts has it"),
    })
    .optional(),
});

const routeSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, "must be letters, digits, dashes, underscores"),
  ref: z.strictObject({ namespace: label, name: label }),
  /** Opening: it answers, and of its nodes nobody comes in until the daemon has seen to whom it lets in; who calls from this host does. */
  state: z.enum(["awake", "opening", "asleep"]),
  /** The door's socket that leads to its apiserver. */
  api: socketPath,
  /** Its name at the supervisor, which wakes it. */
  cell: z.string().min(1).max(100),
  /** Listened on for its nodes and pods; without it nobody comes that way. */
  port: port.optional(),
  /** Names its people call it by. */
  names: z.array(hostName).max(16).default([]),
  egress: z
    .strictObject({
      socket: socketPath,
      nodes: z.array(nodeSchema).default([]),
      podCIDR: network,
      serviceCIDR: network,
      nodePorts: z
        .array(z.strictObject({ from: port, to: port }))
        .max(16)
        .optional(),
      fences: z
        .array(z.strictObject({ network: z.union([network, address]), whose: z.string().min(1).max(200) }))
        .max(1000)
        .optional(),
    })
    .optional(),
  limits: z
    .strictObject({ people: limitsSchema.prefault({}), nodes: nodeLimitsSchema.prefault({}), egress: limitsSchema.prefault({}) })
    .prefault({}),
});

/** All the gateway knows of one tenant. */
export type Route = Readonly<z.output<typeof routeSchema>>;
/** As the daemon writes it: what has a default may be left out. */
export type RouteInput = Readonly<z.input<typeof routeSchema>>;
export type RouteState = Route["state"];
export type Limits = Route["limits"]["people"];
/** Of those who come by the port of nodes: all together that come from no node's address, one of these, and one node. */
export type NodeLimits = Route["limits"]["nodes"];

/** @throws IRW_GATEWAY_ROUTE naming the field */
export function parseRoute(value: unknown): Route {
  const parsed = routeSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const id = String((value as { id?: unknown } | null)?.id ?? "(no id)");
  const problem = parsed.error.issues.map((issue) => `${issue.path.join(".") || "(top)"}: ${issue.message}`).join("; ");
  throw new IronwrightError("IRW_GATEWAY_ROUTE", { tenant: id, problem });
}

/** What a route takes that another one has; undefined when they get along. */
export function collision(route: Route, others: Iterable<Route>): string | undefined {
  for (const other of others) {
    if (other.id === route.id) continue;
    const whose = `of ${tenantText(other.ref)} (${other.id})`;
    if (route.port !== undefined && route.port === other.port) return `port: ${route.port} is that ${whose}`;
    const name = route.names.find((one) => other.names.includes(one));
    if (name !== undefined) return `names: ${name} is that ${whose}`;
    if (route.egress !== undefined && route.egress.socket === other.egress?.socket) return `egress.socket: it is that ${whose}`;
  }
  return undefined;
}

/** What people call a tenant's apiserver. */
export function hostNames({ namespace, name }: TenantRef, domain: string): readonly string[] {
  return [`${name}.${namespace}.${domain}`];
}

/** What is kept of a tenant: its route, and whether a caller woke it since the daemon said that it sleeps. */
export interface Held {
  readonly route: Route;
  readonly woken: boolean;
}

/** Whom a caller woke has the rules of before it slept: it opens to its nodes when the daemon says so. */
export function stateOf({ route, woken }: Held): RouteState {
  return route.state === "asleep" && woken ? "opening" : route.state;
}

/**
 * A route that says once more that the tenant sleeps is older news than the caller who woke it: only after the daemon has seen it
 * awake can it be put to sleep again.
 */
export function afterPut(before: Held | undefined, route: Route): Held {
  return { route, woken: route.state === "asleep" && before?.route.state === "asleep" && before.woken };
}

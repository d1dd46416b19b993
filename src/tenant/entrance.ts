import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Supervisor } from "../supervise/index.ts";
import type { AdmittedNode } from "./csr.ts";
import { writePrivate } from "./files.ts";
import { GATEWAY_CHILD, gatewayChild, gatewayClient, gatewayDir, gatewaySocket } from "./gateway/client.ts";
import { hostNames, type Limits, type RouteInput, type RouteState } from "./gateway/route.ts";
import type { TenantTraffic } from "./gateway/tenant.ts";
import { gatewayUser, type Isolation } from "./isolation.ts";
import { FORWARDING } from "./pki.ts";
import { cellName, doorSocket, egressSocket } from "./place.ts";
import { type ControlPlane, isNameless } from "./runtime.ts";

/** How people, nodes and what the apiserver dials get into and out of a tenant's cell: by the gateway. */
export interface Entrance {
  /** The tenant's port, names and way out are served so, by a gateway that is started if it does not run. Idempotent. */
  open(plane: ControlPlane, nodes: readonly AdmittedNode[], signal: AbortSignal): Promise<void>;
  /**
   * As {@link open}, once it is closed to its nodes: they come in when this is opened, and the daemon before them. What nodes come to now
   * stays as it is.
   */
  prepare(plane: ControlPlane, nodes: readonly AdmittedNode[], signal: AbortSignal): Promise<void>;
  /** Connections are closed; who calls the tenant by name wakes it and is held until it answers, and nodes are sent away. Idempotent. */
  rest(plane: ControlPlane, nodes: readonly AdmittedNode[], signal: AbortSignal): Promise<void>;
  /** What comes and goes, of each that is open or rests, or of one; empty while no gateway runs. */
  traffic(id?: string): Promise<readonly TenantTraffic[]>;
  /** The tenant's apiserver dials this node no more, asleep or awake. Idempotent. */
  dropNode(id: string, nodeName: string): Promise<void>;
  /** Nobody comes in any more. */
  close(id: string): Promise<void>;
}

const READY_TIMEOUT_MS = 30_000;
/** Every address of the host: which of them nodes dial is the operator's to say. */
const NODES_ADDRESS = "0.0.0.0";

/** Of the node, made when it joins: see playbooks/join/forwarding.sh. */
const FORWARDING_USER = "ironwright-gateway";

/** Who comes from no node's address: pods that keep their own, machines that join, and strangers; the more nodes, the more of these. */
export function nodeLimits(nodes: number): Limits {
  return { connections: 64 + 32 * nodes, perSecond: 50 + nodes, burst: 100 + 10 * nodes };
}

/** Where nobody is in a cell, apiservers listen for themselves. */
const NONE: Entrance = {
  open: async () => {},
  prepare: async () => {},
  rest: async () => {},
  traffic: async () => [],
  dropNode: async () => {},
  close: async () => {},
};

export interface EntranceOptions {
  readonly supervisor: Supervisor;
  readonly dataDir: string;
  readonly isolation: Isolation | undefined;
}

export function entrance({ isolation, ...rest }: EntranceOptions): Entrance {
  return isolation ? byGateway({ isolation, ...rest }) : NONE;
}

function byGateway({ supervisor, dataDir, isolation }: EntranceOptions & { readonly isolation: Isolation }): Entrance {
  const dir = gatewayDir(dataDir);
  const client = gatewayClient(gatewaySocket(dir));
  const uid = gatewayUser(isolation);
  /** Root's to write and the gateway's to read; no cell sees it. */
  const keys = { source: join(dataDir, "gateway-keys"), owner: { uid: 0, gid: uid } };
  const keyFile = (id: string) => join(keys.source, id);

  async function run(signal: AbortSignal): Promise<void> {
    const child = gatewayChild({
      dir,
      people: isolation.frontDoor,
      nodesAddress: NODES_ADDRESS,
      wakeSocket: join(dataDir, "run", "wake.sock"),
      logFile: join(dataDir, "logs", "tenants-gateway.log"),
      uid,
    });
    // the supervisor's to give: the daemon may run without the right to
    const own = { source: dir, owner: { uid, gid: process.getgid?.() ?? 0 } };
    await supervisor.ensure({ ...child, wakes: true, grants: [own, keys] });
    await supervisor.waitReady(child.name, { timeoutMs: READY_TIMEOUT_MS, signal });
  }

  async function serve(state: RouteState, plane: ControlPlane, nodes: readonly AdmittedNode[], signal: AbortSignal): Promise<void> {
    const { ref, id, port, spec } = plane;
    await run(signal);
    const home = join(dataDir, "tenants", id);
    const key = plane.bundle[FORWARDING.key];
    if (key !== undefined) await writePrivate(keyFile(id), key, 0o640);
    await client.put({
      id,
      ref,
      state,
      api: doorSocket(home),
      cell: cellName(id),
      port,
      // nobody calls what has no name yet
      names: isNameless(plane) ? [] : [...hostNames(ref, isolation.domain)],
      egress: {
        socket: egressSocket(home),
        nodes: nodes.map((node) => nodeOf(node, key === undefined ? undefined : keyFile(id))),
        podCIDR: spec.podCIDR,
        serviceCIDR: spec.serviceCIDR,
      },
      limits: { nodes: nodeLimits(nodes.length) },
    });
  }

  /** Nobody comes in where it never ran. */
  async function runs(): Promise<boolean> {
    return (await supervisor.list([GATEWAY_CHILD])).some((child) => child.ready);
  }

  /** Whether there is one to tell: one that is away for a moment serves what it was told before. */
  async function exists(): Promise<boolean> {
    return (await supervisor.list([GATEWAY_CHILD])).length > 0;
  }

  async function traffic(id?: string): Promise<readonly TenantTraffic[]> {
    return (await runs()) ? client.list(id) : [];
  }

  return {
    open: (plane, nodes, signal) => serve("awake", plane, nodes, signal),
    async prepare(plane, nodes, signal) {
      await run(signal);
      const [known] = await client.list(plane.id);
      await serve(known?.state === "awake" ? "awake" : "opening", plane, nodes, signal);
    },
    rest: (plane, nodes, signal) => serve("asleep", plane, nodes, signal),
    traffic,
    async dropNode(id, nodeName) {
      if (await exists()) await client.dropNode(id, nodeName);
    },
    async close(id) {
      if (await exists()) await client.remove(id);
      await rm(keyFile(id), { force: true });
    },
  };
}

type RouteNode = NonNullable<NonNullable<RouteInput["egress"]>["nodes"]>[number];

/** A node as the gateway dials it: what lies behind it too, where it has the tenant's forwarding key. */
export function nodeOf({ nodeName, addresses, ssh, podCIDR }: AdmittedNode, keyFile: string | undefined): RouteNode {
  const [address] = addresses;
  return {
    name: nodeName,
    addresses: [...addresses],
    ...(podCIDR === undefined ? {} : { podCIDR }),
    ...(ssh && address !== undefined && keyFile !== undefined ? { ssh: { ...ssh, address, user: FORWARDING_USER, keyFile } } : {}),
  };
}

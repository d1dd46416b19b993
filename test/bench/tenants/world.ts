import { SYSTEM_NAMESPACE } from "../../../src/core/names.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../../../src/core/resources.ts";
import { connectKube, type Kube, NAMESPACE, SECRET } from "../../../src/kube/index.ts";
import type { TenantController } from "../../../src/tenant/index.ts";
import { eventually } from "../../flow/eventually.ts";
import { type HostControlPlane, withHost } from "../../flow/host-control-plane.ts";
import { cellsOf, controllerOf, createTenant, kubeconfigText, readyTenant } from "../../flow/tenant-world.ts";
import { type MachineMemory, MIB, machineMemory } from "./machine-memory.ts";

/** A host with its tenants, as the daemon runs them: cells, TLS, a shared etcd that lets in by name, a swap file of its own. */
export interface World {
  readonly host: HostControlPlane;
  readonly ports: { readonly from: number; readonly to: number };
  /** The first is the gateway's, the others are tenants'. */
  readonly uids: { readonly from: number; readonly to: number };
  /** The machine's before any of this began. */
  readonly before: MachineMemory;
  /** Milliseconds until a call with its kubeconfig by the front door is answered. */
  create(name: string): Promise<number>;
  /** Resolves when a call with its kubeconfig by the front door is answered. */
  answers(name: string, withinMs?: number): Promise<void>;
  /** A client of its people's, with a connection of its own to come. */
  connect(name: string): Promise<Kube>;
  get(name: string): Promise<VirtualCluster>;
  /** Ordered to sleep, and seen to. */
  sleep(names: readonly string[]): Promise<void>;
  /** Everything about it is done by now, the daemon's part too. */
  awake(name: string): Promise<void>;
  /** This many tenants, all of whom sleep; those asleep longest come first. */
  fleet(count: number): Promise<readonly string[]>;
  /** It is one of the fleet from now on, and sleeps. */
  join(name: string): Promise<void>;
  /** Keeps so many control planes ready, and waits until they are. */
  pool(size: number): Promise<void>;
  poolFull(size: number): Promise<void>;
  /** Deleted, and gone. */
  remove(names: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export interface WorldOptions {
  /** Most tenants that sleep at once. */
  readonly tenants: number;
  readonly logLevel?: string;
  say(line: string): void;
}

const FRONT_DOOR = 22_000;
const PORTS = { from: 22_001, to: 22_999 };
const UIDS = { from: 2_980_000, to: 2_981_000 };
/** Of one sleeper, with room to spare. */
const SWAP_EACH = 320 * MIB;
const NAMESPACE_OF_TENANTS = "default";
const TOGETHER = 4;

export async function openWorld({ tenants, logLevel, say }: WorldOptions): Promise<World> {
  if (process.getuid?.() !== 0) throw new Error("cells are made by root alone");
  const before = machineMemory();
  say("waiting for the host control plane");
  const host = await withHost(logLevel === undefined ? {} : { logLevel });
  await host.kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } });
  const fleet: string[] = [];
  let controller: TenantController | undefined;
  let warm = 0;

  async function begin(size: number): Promise<void> {
    await controller?.stop();
    warm = size;
    const { isolation } = cellsOf(host, UIDS.from, FRONT_DOOR, (tenants + 2) * SWAP_EACH);
    if (!isolation) throw new Error("there are no cells here");
    controller = controllerOf(host, PORTS, { isolation: { ...isolation, uids: UIDS }, warm });
    await controller.start();
  }

  const get = async (name: string): Promise<VirtualCluster> => {
    const found = await host.kube.get(VIRTUAL_CLUSTER, name, NAMESPACE_OF_TENANTS);
    if (!found) throw new Error(`${name} is gone`);
    return found;
  };

  async function sleepOne(name: string): Promise<void> {
    const order = (state: "Auto" | "Asleep") =>
      host.kube.patch(VIRTUAL_CLUSTER, name, NAMESPACE_OF_TENANTS, { spec: { sleep: { state } } });
    // an order that stands is no new one
    if ((await get(name)).spec.sleep?.state === "Asleep") {
      await order("Auto");
      await eventually(`${name} has forgotten its last order`, async () => {
        if ((await get(name)).status?.sleep?.orderedAt !== undefined) throw new Error("not yet");
      });
    }
    await order("Asleep");
    await eventually(
      `${name} sleeps`,
      async () => {
        const { state, why } = (await get(name)).status?.sleep ?? {};
        if (state === "stopped") throw new Error(`stopped: ${why}`);
        if (state !== "hibernated") throw new Error(why ?? "it says nothing");
      },
      120_000,
    );
  }

  const world: World = {
    host,
    ports: PORTS,
    uids: UIDS,
    before,
    get,

    async create(name) {
      const began = performance.now();
      await createTenant(host, name);
      await world.answers(name);
      return performance.now() - began;
    },

    async answers(name, withinMs = 120_000) {
      await eventually(
        `${name} has a kubeconfig`,
        async () => {
          if (!(await host.kube.get(SECRET, `${name}-kubeconfig`, NAMESPACE_OF_TENANTS))) throw new Error("not yet");
        },
        withinMs,
      );
      const kube = await world.connect(name);
      try {
        await eventually(`${name} answers`, async () => {
          if (!(await kube.get(NAMESPACE, "default"))) throw new Error("it has no namespace default yet");
        });
      } finally {
        await kube.close();
      }
    },

    connect: async (name) => connectKube(await kubeconfigText(host, { name })),

    async sleep(names) {
      await together(names, sleepOne);
    },

    async awake(name) {
      await readyTenant(host, { namespace: NAMESPACE_OF_TENANTS, name });
      await eventually(`${name} is awake`, async () => {
        const state = (await get(name)).status?.sleep?.state;
        if (state !== "awake" && state !== undefined) throw new Error(state);
      });
    },

    async fleet(count) {
      while (fleet.length < count) {
        const fresh = Array.from({ length: Math.min(2 * TOGETHER, count - fleet.length) }, (_, nth) => `fleet-${fleet.length + nth}`);
        say(`waiting for tenants ${fleet.length + 1} to ${fleet.length + fresh.length} of ${count}, created ${TOGETHER} at a time`);
        await together(fresh, async (name) => {
          await world.create(name);
          await world.awake(name);
        });
        await world.sleep(fresh);
        fleet.push(...fresh);
      }
      return fleet.slice(0, count);
    },

    async join(name) {
      await world.awake(name);
      await world.sleep([name]);
      fleet.push(name);
    },

    async pool(size) {
      if (size === warm) return world.poolFull(size);
      await begin(size);
      await world.poolFull(size);
    },

    async poolFull(size) {
      await eventually(
        `${size} control planes wait in the pool`,
        async () => {
          const { items } = await host.kube.list(SECRET, { namespace: SYSTEM_NAMESPACE, labelSelector: "ironwright.dev/warm" });
          if (items.length !== size || items.some((one) => one.metadata.labels?.["ironwright.dev/warm"] !== "ready"))
            throw new Error(`${items.length} are there`);
        },
        120_000 + size * 20_000,
      );
    },

    async remove(names) {
      for (const name of names) await host.kube.delete(VIRTUAL_CLUSTER, name, { namespace: NAMESPACE_OF_TENANTS });
      await eventually(
        `${names.length} tenants are gone`,
        async () => {
          for (const name of names)
            if (await host.kube.get(VIRTUAL_CLUSTER, name, NAMESPACE_OF_TENANTS)) throw new Error(`${name} is still there`);
        },
        120_000 + names.length * 10_000,
      );
    },

    async close() {
      await controller?.stop();
      await host.stop();
    },
  };
  try {
    await begin(0);
  } catch (error) {
    await world.close();
    throw error;
  }
  return world;
}

/** A few at a time, as many as the daemon takes. */
export async function together(names: readonly string[], work: (name: string) => Promise<unknown>): Promise<void> {
  const left = [...names];
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      for (let name = left.shift(); name !== undefined; name = left.shift()) await work(name);
    }),
  );
}

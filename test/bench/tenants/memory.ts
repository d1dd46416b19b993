import { systemClock } from "../../../src/core/clock.ts";
import { type ProcessMemory, type Snapshot, snapshot } from "./machine-memory.ts";
import { type TenantsOptions, type TenantsPart, tenths } from "./part.ts";
import { measuredWith } from "./thousand.ts";

/** What a tenant adds, awake and asleep: the machine's used memory against what it was with a fleet that slept already. */
export async function benchMemory({ world, count, quick, say }: TenantsOptions): Promise<TenantsPart> {
  const { host } = world;
  // the first one brings etcd, the gateway and the swap file with it
  await world.fleet(1);
  await settle(COLLECTED_S);
  const before = await snapshot(host);
  const names = Array.from({ length: count }, (_, nth) => `memory-${nth}`);
  for (const [nth, name] of names.entries()) {
    say(`waiting for tenant ${nth + 1} of ${count}`);
    await world.create(name);
    await world.awake(name);
  }
  await settle(STILL_S);
  const awake = await snapshot(host);
  const measured = [await measuredWith(world, awake.machine)];
  say(`waiting until ${count} sleep`);
  for (const name of names) await world.join(name);
  await settle(COLLECTED_S);
  const asleep = await snapshot(host);
  measured.push(await measuredWith(world, asleep.machine));
  const [up, down] = [perTenant(before, awake, count), perTenant(before, asleep, count)];
  return {
    measured,
    figures: {
      memoryTenants: count,
      awakeMiB: up.machine,
      hibernatedMiB: down.machine,
      ...named("awake", up),
      ...named("hibernated", down),
      hostMiB: tenths(before.machine.used - world.before.used),
      swapCachedMiB: tenths(asleep.machine.swapCached),
    },
    table: [
      [`MiB a tenant, of ${count}`, "awake", "hibernated"],
      ["added to the machine's used memory, all counted", text(up.machine), text(down.machine)],
      ...Object.entries(SAYS).map(([key, says]) => [says, text(up[key as Share]), text(down[key as Share])]),
    ],
  };

  async function settle(seconds: number): Promise<void> {
    const waits = quick ? 1 : seconds;
    say(`waiting ${waits} s until memory is still`);
    await systemClock.sleep(waits * 1000);
  }
}

const STILL_S = 8;
/** Go collects garbage once in two minutes where nobody asks for memory; what etcd and others had for a tenant is garbage until then. */
export const COLLECTED_S = 200;

type Share = Exclude<keyof ReturnType<typeof perTenant>, "machine">;

const SAYS: Readonly<Record<Share, string>> = {
  Resident: "of it: its processes' own memory",
  PageTables: "of it: their page tables",
  Kernel: "of it: charged to its cgroup beyond these (sockets, slab, files it read)",
  Etcd: "of it: etcd's share",
  Supervisor: "of it: the supervisor's share",
  Gateway: "of it: the gateway's share",
  Daemon: "of it: the daemon's share (with this benchmark's own)",
  Host: "of it: the host control plane's share",
  Swap: "besides: on the swap file",
};

function perTenant(before: Snapshot, now: Snapshot, count: number) {
  const each = (of: (one: Snapshot) => number) => tenths((of(now) - of(before)) / count);
  const own = (of: (one: Snapshot) => ProcessMemory) => each((one) => of(one).resident + of(one).pageTables);
  return {
    machine: each(({ machine }) => machine.used),
    Resident: each(({ tenants }) => tenants.resident),
    PageTables: each(({ tenants }) => tenants.pageTables),
    Kernel: each(({ tenants, charged }) => charged - tenants.resident - tenants.pageTables),
    Etcd: own(({ etcd }) => etcd),
    Supervisor: own(({ supervisor }) => supervisor),
    Gateway: own(({ gateway }) => gateway),
    Daemon: own(({ daemon }) => daemon),
    Host: own(({ host }) => host),
    Swap: each(({ tenants }) => tenants.swapped),
  };
}

function named(prefix: string, shares: ReturnType<typeof perTenant>): Record<string, number> {
  return Object.fromEntries(Object.keys(SAYS).map((key) => [`${prefix}${key}MiB`, shares[key as Share]]));
}

function text(value: number): string {
  return value.toFixed(1);
}

import { systemClock } from "../../../src/core/clock.ts";
import { rangeOf } from "../../../src/tenant/shard.ts";
import { inShards, tenantsThings } from "../../flow/tenant-things.ts";
import { type Snapshot, snapshot } from "./machine-memory.ts";
import { type TenantsOptions, type TenantsPart, tenths } from "./part.ts";
import { together } from "./world.ts";

/** Tenants that come and go, four at a time: what is left of them. */
export async function benchChurn({ world, count, quick, say }: TenantsOptions): Promise<TenantsPart> {
  const { host } = world;
  const ids: string[] = [];
  const things = () => tenantsThings(host, { ...world, ids });
  await world.fleet(1);
  // the first ones widen what is kept for all
  await comeAndGo(["first-0", "first-1"]);
  await systemClock.sleep(quick ? 1_000 : 5_000);
  const [had, memory] = [await things(), await snapshot(host)];
  const began = performance.now();
  await comeAndGo(Array.from({ length: count }, (_, nth) => `churn-${nth}`));
  const seconds = (performance.now() - began) / 1000;
  await systemClock.sleep(quick ? 1_000 : 5_000);
  const [has, after] = [await things(), await snapshot(host)];
  const left = Object.fromEntries(Object.entries(has).map(([what, all]) => [what, all.filter((one) => !had[what]?.includes(one))]));
  const keys = await inShards(host.dir, async (etcd) => sum(await Promise.all(ids.map((id) => etcd.count(rangeOf(id))))));
  const all = { ...Object.fromEntries(Object.entries(left).map(([what, names]) => [what, names.length])), "keys in etcd": sum(keys) };
  for (const [what, names] of Object.entries(left)) if (names.length > 0) say(`left: ${what}: ${names.slice(0, 5).join(", ")}`);
  const grown = (of: (one: Snapshot) => number) => tenths(((of(after) - of(memory)) * 1024) / count);
  const growth = {
    Machine: grown(({ machine }) => machine.used),
    Etcd: grown(({ etcd }) => etcd.resident),
    Supervisor: grown(({ supervisor }) => supervisor.resident),
    Gateway: grown(({ gateway }) => gateway.resident),
    Daemon: grown(({ daemon }) => daemon.resident),
    Host: grown(({ host: own }) => own.resident),
  };
  return {
    figures: {
      churnTenants: count,
      churnSeconds: tenths(seconds),
      churnRetained: sum(Object.values(all)),
      ...Object.fromEntries(Object.entries(growth).map(([who, value]) => [`churn${who}KiB`, value])),
    },
    table: [
      [`${count} tenants created and deleted, in ${Math.round(seconds)} s`, ""],
      ...Object.entries(all).map(([what, number]) => [`left: ${what}`, String(number)]),
      ...Object.entries(growth).map(([who, value]) => [`grown a tenant, KiB: ${GREW[who as keyof typeof GREW]}`, String(value)]),
    ],
  };

  async function comeAndGo(names: readonly string[]): Promise<void> {
    let gone = 0;
    await together(names, async (name) => {
      await world.create(name);
      ids.push((await world.get(name)).metadata.uid ?? "");
      await world.remove([name]);
      gone += 1;
      say(`${gone} of ${names.length} came and went`);
    });
  }
}

const GREW = {
  Machine: "the machine's used memory",
  Etcd: "the tenants' etcd",
  Supervisor: "the supervisor",
  Gateway: "the gateway",
  Daemon: "the daemon, with this benchmark",
  Host: "the host control plane",
} as const;

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { connectEtcd, type Etcd } from "../../../src/tenant/etcd.ts";
import { rangeOf } from "../../../src/tenant/shard.ts";
import { type Snapshot, snapshot } from "./machine-memory.ts";
import { type TenantsOptions, type TenantsPart, tenths } from "./part.ts";
import { together } from "./world.ts";

const CGROUPS = "/sys/fs/cgroup";

/** Tenants that come and go, four at a time: what is left of them. */
export async function benchChurn({ world, count, quick, say }: TenantsOptions): Promise<TenantsPart> {
  const { host } = world;
  const ids: string[] = [];
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
  const keys = await inShards(async (etcd) => sum(await Promise.all(ids.map((id) => etcd.count(rangeOf(id))))));
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

  /** What each tenant has of this host, by name. */
  async function things(): Promise<Record<string, readonly string[]>> {
    return {
      children: (await host.supervisor.list()).map((child) => child.name),
      "processes of tenants' users": processes(world.uids),
      cells: (await host.supervisor.cells()).map((cell) => cell.name),
      cgroups: readdirSync(CGROUPS).flatMap((controller) => entries(join(CGROUPS, controller, "ironwright"), controller)),
      directories: entries(join(host.dir, "tenants"), "tenants"),
      "ports that listen": listening(),
      "users of etcd": (await inShards((etcd) => etcd.users())).flat(),
    };
  }

  async function inShards<T>(look: (etcd: Etcd) => Promise<T>): Promise<readonly T[]> {
    const found: T[] = [];
    for (const name of readdirSync(join(host.dir, "datastore")).filter((one) => one.startsWith("shard-"))) {
      const read = (file: string) => readFileSync(join(host.dir, "datastore", name, file), "utf8");
      const tls = { ca: read("ca-bundle.crt"), cert: read("daemon.crt"), key: read("daemon.key") };
      const etcd = connectEtcd({ endpoint: `https://127.0.0.1:${read("port").trim()}`, tls, rootPassword: read("root-password") });
      try {
        found.push(await look(etcd));
      } finally {
        await etcd.close();
      }
    }
    return found;
  }

  function listening(): string[] {
    const lines = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => readFileSync(file, "utf8").split("\n"));
    // proc_net(5): 0A is LISTEN
    const ports = lines
      .flatMap((line) => / [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /.exec(line)?.[1] ?? [])
      .map((hex) => Number.parseInt(hex, 16));
    return ports.filter((port) => port >= world.ports.from && port <= world.ports.to).map(String);
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

function processes({ from, to }: { readonly from: number; readonly to: number }): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      return uid > from && uid <= to;
    } catch {
      return false;
    }
  });
}

function entries(dir: string, prefix: string): string[] {
  return existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true })
        .filter((one) => one.isDirectory())
        .map((one) => `${prefix}/${one.name}`)
    : [];
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Kube, SECRET } from "../../src/kube/index.ts";
import type { Supervisor } from "../../src/supervise/index.ts";
import { connectEtcd, type Etcd } from "../../src/tenant/etcd.ts";
import { gatewayClient, gatewayDir, gatewaySocket } from "../../src/tenant/gateway/client.ts";
import { shardEtcd } from "../../src/tenant/shard.ts";
import { runningProcesses } from "../processes.ts";
import { groupsOfCells } from "./cell-groups.ts";

interface NumberRange {
  readonly from: number;
  readonly to: number;
}

/** A host whose tenants' gateway runs. */
interface TenantsHost {
  readonly dir: string;
  readonly kube: Kube;
  readonly supervisor: Supervisor;
}

/** What of the machine is tenants' of this host: ports, users, of which the first is the gateway's, and groups of these control planes. */
export interface TenantMarks {
  readonly ports: NumberRange;
  readonly uids: NumberRange;
  readonly ids: readonly string[];
}

/** What tenants have of this host, by name; what one of them leaves is what was not there before it. */
export async function tenantsThings(
  { dir, kube, supervisor }: TenantsHost,
  { ports, uids, ids }: TenantMarks,
): Promise<Record<string, readonly string[]>> {
  const gateway = gatewayDir(dir);
  return {
    children: (await supervisor.list()).map((child) => child.name),
    "processes of tenants' users": runningProcesses()
      .filter(({ uid }) => uid > uids.from && uid <= uids.to)
      .map(({ pid }) => String(pid)),
    cells: (await supervisor.cells()).map((cell) => cell.name),
    cgroups: groupsOfCells()
      .flatMap(directories)
      .filter((path) => ids.some((id) => path.endsWith(id))),
    directories: directories(join(dir, "tenants")),
    "ports that listen": listening(ports),
    "users of etcd": (await inShards(dir, (etcd) => etcd.users())).flat(),
    Secrets: (await kube.list(SECRET)).items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    "routes of the gateway": (await gatewayClient(gatewaySocket(gateway)).list()).map(({ id }) => id),
    "files of the gateway": [join(gateway, "routes"), join(dir, "gateway-keys")].flatMap((path) =>
      readdirSync(path).map((name) => join(path, name)),
    ),
  };
}

/** Asks each of a data directory's shards, as the daemon. */
export async function inShards<T>(dir: string, look: (etcd: Etcd) => Promise<T>): Promise<readonly T[]> {
  const found: T[] = [];
  for (const name of readdirSync(join(dir, "datastore")).filter((one) => one.startsWith("shard-"))) {
    const etcd = connectEtcd(shardEtcd(join(dir, "datastore", name)));
    try {
      found.push(await look(etcd));
    } finally {
      await etcd.close();
    }
  }
  return found;
}

function listening({ from, to }: NumberRange): string[] {
  const lines = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => readFileSync(file, "utf8").split("\n"));
  // proc_net(5): 0A is LISTEN
  const ports = lines
    .flatMap((line) => / [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /.exec(line)?.[1] ?? [])
    .map((hex) => Number.parseInt(hex, 16));
  return ports.filter((port) => port >= from && port <= to).map(String);
}

function directories(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const all = readdirSync(dir, { withFileTypes: true });
  return all.filter((one) => one.isDirectory()).map((one) => join(dir, one.name));
}

import { execFileSync } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { condition } from "../../src/core/conditions.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { CONFIG_MAP, type ConfigMap, type Kube } from "../../src/kube/index.ts";
import { eventually } from "../flow/eventually.ts";
import { createTenant, kubeOfPeople, readyTenant } from "../flow/tenant-world.ts";
import { row } from "./row.ts";
import { openSoak } from "./tenants-world.ts";

/** The disk of the tenants' etcd fills up while somebody writes: it is said, and once there is room every acknowledged write is there. */
const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_571, to: 21_574 };
const MIB = 2 ** 20;
/** Two segments of etcd's log, which it makes ahead at 64 MB each, and some room for its file. */
const DISK_BYTES = 176 * MIB;
const DEADLINE_MS = 180_000;
const MOST_WRITES = 100;

const began = Date.now();
const world = await openSoak({ ports: PORTS, uid: 2_969_000, seed: 1 });
const { host } = world;
const datastore = join(host.dir, "datastore");
const filler = join(datastore, "filler");
let mounted = false;
let result: string;
try {
  await mkdir(datastore, { mode: 0o711 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=711`, "ironwright-soak", datastore]);
  mounted = true;
  await world.startDaemon();
  await createTenant(host, ACME.name);
  await readyTenant(host, ACME);
  const kube = await kubeOfPeople(host, ACME);
  try {
    result = await fill(kube);
  } finally {
    await kube.close();
  }
} catch (error) {
  process.exitCode = 1;
  result = `${reasonOf(error)}; ${reasonOf((error as Error).cause)}`;
  console.error(result);
} finally {
  await host.supervisor.shutdown();
  // lazily: what still reads there is none of the supervisor's
  if (mounted) execFileSync("umount", ["--lazy", datastore]);
  await world.close();
}
console.log(row("full-disk", `a tmpfs of ${DISK_BYTES / MIB} MiB below a tenant's etcd`, result, began));

async function fill(kube: Kube): Promise<string> {
  const { bavail, bsize } = statfsSync(datastore);
  writeFileSync(filler, Buffer.alloc(bavail * bsize));
  const kept = await writeUntilRefused(kube);
  if (kept.length === MOST_WRITES) throw new Error("no write was refused");
  const full = performance.now();
  await eventually(
    "it is said",
    async () => {
      const cluster = await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace);
      const ready = condition(cluster?.status?.conditions, "Ready");
      if (ready?.status !== "False" || !ready.message.includes(`the disk of ${datastore}/shard-0/etcd.log is full`))
        throw new Error(ready?.message);
    },
    DEADLINE_MS,
  );
  const said = seconds(full);
  rmSync(filler);
  const room = performance.now();
  await eventually("it is Ready", () => readyTenant(host, ACME), DEADLINE_MS);
  const ready = seconds(room);
  for (const one of kept) {
    const now = await kube.get<ConfigMap>(CONFIG_MAP, one.metadata.name, "default");
    if (now?.data?.bytes !== one.data?.bytes) throw new Error(`${one.metadata.name} is lost`);
  }
  return `said after ${said} s, Ready ${ready} s after there was room, ${kept.length} acknowledged writes of 0.9 MB intact`;
}

async function writeUntilRefused(kube: Kube): Promise<readonly ConfigMap[]> {
  const kept: ConfigMap[] = [];
  for (let nth = 0; nth < MOST_WRITES; nth += 1) {
    const object: ConfigMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `kept-${nth}`, namespace: "default" },
      data: { bytes: String(nth).padEnd(900_000, "x") },
    };
    try {
      await kube.create(CONFIG_MAP, object);
    } catch {
      return kept;
    }
    kept.push(object);
  }
  return kept;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}

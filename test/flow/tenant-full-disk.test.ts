import { execFileSync } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { condition } from "../../src/core/conditions.ts";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { CONFIG_MAP, type ConfigMap, type Kube } from "../../src/kube/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { cellsOf, controllerOf, createTenant, kubeOfPeople, readyTenant } from "./tenant-world.ts";

const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_541, to: 21_544 };
const isRoot = process.getuid?.() === 0;
const MIB = 2 ** 20;
/** Two segments of etcd's log, which it makes ahead at 64 MB each, and some room for its file. */
const DISK_BYTES = 176 * MIB;

let host: HostControlPlane;
let tenants: TenantController;
let datastore: string;
let mounted = false;

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost();
  datastore = join(host.dir, "datastore");
  await mkdir(datastore, { mode: 0o711 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=711`, "ironwright-test", datastore]);
  mounted = true;
  tenants = controllerOf(host, PORTS, cellsOf(host, 2_969_000, PORTS.from - 1));
  await tenants.start();
  await createTenant(host, ACME.name);
  await readyTenant(host, ACME);
}, 180_000);

afterAll(async () => {
  await tenants?.stop();
  await host?.supervisor.shutdown();
  // lazily: what still reads there is none of the supervisor's
  if (mounted) execFileSync("umount", ["--lazy", datastore]);
  await host?.stop();
});

test.runIf(isRoot)("a full disk is said, and once there is room every acknowledged write is there", async () => {
  const kube = await kubeOfPeople(host, ACME);
  const filler = join(datastore, "filler");
  const kept: ConfigMap[] = [];
  try {
    const { bavail, bsize } = statfsSync(datastore);
    writeFileSync(filler, Buffer.alloc(bavail * bsize));
    const refused = await writeUntilRefused(kube, kept);
    expect(kept.length, refused).toBeLessThan(100);
    await eventually("it is said", async () => {
      const cluster = await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace);
      const ready = condition(cluster?.status?.conditions, "Ready");
      expect(ready?.status).toBe("False");
      expect(ready?.message).toContain(`the disk of ${datastore}/shard-0/etcd.log is full`);
    });
    rmSync(filler);
    await readyTenant(host, ACME);
    for (const one of kept)
      expect((await kube.get<ConfigMap>(CONFIG_MAP, one.metadata.name, "default"))?.data, one.metadata.name).toEqual(one.data);
  } finally {
    rmSync(filler, { force: true });
    await kube.close();
  }
});

async function writeUntilRefused(kube: Kube, kept: ConfigMap[]): Promise<string> {
  for (let nth = 0; nth < 100; nth += 1) {
    const object: ConfigMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `kept-${nth}`, namespace: "default" },
      data: { bytes: String(nth).padEnd(900_000, "x") },
    };
    try {
      await kube.create(CONFIG_MAP, object);
    } catch (error) {
      return String(error);
    }
    kept.push(object);
  }
  return "it was never refused";
}

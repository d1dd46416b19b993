import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NODE_CLAIM, VIRTUAL_CLUSTER, type VirtualCluster } from "../../src/core/resources.ts";
import { connectKube, NAMESPACE, SECRET, type Secret } from "../../src/kube/index.ts";
import { createLog } from "../../src/observe/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { idOf } from "../../src/tenant/runtime.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { tenantsThings } from "./tenant-things.ts";
import { bundleOf, cellsOf, controllerOf, createTenant, kubeconfigText, readyTenant } from "./tenant-world.ts";

const PORTS = { from: 21_521, to: 21_529 };
const UIDS = { from: 2_965_000, to: 2_965_100 };
const MIB = 2 ** 20;
/** What of a tenant says whose it is. */
const NAMED = ["children", "cells", "cgroups", "directories", "users of etcd", "Secrets", "routes of the gateway", "files of the gateway"];
const isRoot = process.getuid?.() === 0;

let host: HostControlPlane;
let tenants: TenantController;
/** What the daemon had to say against anything. */
const warnings: string[] = [];

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost();
  await host.kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: "ironwright-system" } });
  await begin(2);
}, 120_000);
afterAll(async () => {
  await tenants?.stop();
  await host?.stop();
});

async function begin(warm: number): Promise<void> {
  const log = createLog("warn", { write: (line) => void warnings.push(line) });
  tenants = controllerOf(host, PORTS, { ...cellsOf(host, UIDS.from, PORTS.from - 1, 1536 * MIB), warm, log });
  await tenants.start();
}

async function waiting(): Promise<readonly Secret[]> {
  const { items } = await host.kube.list(SECRET, { namespace: "ironwright-system", labelSelector: "ironwright.dev/warm" });
  return items;
}

function full(count: number): Promise<readonly Secret[]> {
  return eventually(`${count} wait`, async () => {
    const all = await waiting();
    expect(all.map((one) => one.metadata.labels?.["ironwright.dev/warm"])).toEqual(Array.from({ length: count }, () => "ready"));
    return all;
  });
}

async function answers(ref: { namespace: string; name: string }): Promise<void> {
  const kube = connectKube(await kubeconfigText(host, ref));
  expect((await kube.list(NAMESPACE)).items.length).toBeGreaterThan(3);
  await kube.close();
}

describe.skipIf(!isRoot)("control planes that wait for tenants", () => {
  test("they sleep, with ports, users and keys of their own", async () => {
    const all = await full(2);
    const cells = await host.supervisor.cells();
    expect(cells.map((cell) => cell.state)).toEqual(["frozen", "frozen"]);
    expect(await host.supervisor.cellStates()).toEqual(cells.map(({ name, state, children }) => ({ name, state, children })));
    const own = ({ metadata, data }: Secret) => [
      metadata.annotations?.["ironwright.dev/port"],
      metadata.annotations?.["ironwright.dev/user"],
      data?.["encryption-key"],
      data?.["ca.crt"],
    ];
    expect(new Set(all.flatMap(own)).size).toBe(8);
    // nobody took what is nobody's yet for a tenant's
    expect(warnings).toEqual([]);
  });

  test("a tenant gets one, by its own name, and the next is made; one that asks for more gets one of its own", async () => {
    const before = (await waiting()).map((one) => one.metadata.name.replace("warm-", ""));
    await createTenant(host, "acme");
    const acme = await readyTenant(host, { namespace: "default", name: "acme" });
    expect(before).toContain(acme.status?.plane);
    await answers({ namespace: "default", name: "acme" });
    await createTenant(host, "other", { serviceCIDR: "10.112.0.0/16" });
    const other = await readyTenant(host, { namespace: "default", name: "other" });
    expect(other.status?.plane).toBeUndefined();
    expect(
      new Set([
        acme.status?.port,
        other.status?.port,
        ...(await full(2)).map((one) => Number(one.metadata.annotations?.["ironwright.dev/port"])),
      ]).size,
    ).toBe(4);
  });

  test("a daemon that ends between taking and giving gives it all the same, to that tenant alone", async () => {
    await tenants.stop();
    await createTenant(host, "torn");
    const torn = (await host.kube.get(VIRTUAL_CLUSTER, "torn", "default")) as VirtualCluster;
    const [secret] = await waiting();
    if (!secret) throw new Error("none waits");
    const owner = JSON.stringify({ uid: torn.metadata.uid, name: "torn", namespace: "default" });
    await host.kube.patch(SECRET, secret.metadata.name, "ironwright-system", {
      metadata: { labels: { "ironwright.dev/warm": "taken" }, annotations: { "ironwright.dev/owner": owner } },
    });
    await begin(2);
    const ready = await readyTenant(host, { namespace: "default", name: "torn" });
    expect(`warm-${ready.status?.plane}`).toBe(secret.metadata.name);
    expect((await bundleOf(host, { name: "torn" }))["encryption-key"]).toBe(
      Buffer.from(secret.data?.["encryption-key"] ?? "", "base64").toString(),
    );
    await answers({ namespace: "default", name: "torn" });
    // what was taken by a tenant that is gone is nobody's
    const [next] = await full(2);
    await host.kube.patch(SECRET, next?.metadata.name ?? "", "ironwright-system", {
      metadata: {
        labels: { "ironwright.dev/warm": "taken" },
        annotations: { "ironwright.dev/owner": JSON.stringify({ uid: "1", name: "x", namespace: "default" }) },
      },
    });
    await tenants.stop();
    await begin(2);
    await eventually("it is removed", async () =>
      expect((await waiting()).map((one) => one.metadata.name)).not.toContain(next?.metadata.name),
    );
    await full(2);
  }, 180_000);

  test("a deleted tenant leaves nothing of the control plane it was given; a pool of none keeps none", async () => {
    const clusters = (await host.kube.list(VIRTUAL_CLUSTER)).items;
    const things = () => tenantsThings(host, { ports: PORTS, uids: UIDS, ids: clusters.map(idOf) });
    const theirs = async () => {
      const marks = clusters.flatMap((cluster) => [idOf(cluster), `/${cluster.metadata.name}-`]);
      return Object.entries(await things()).flatMap(([kind, all]) =>
        all.some((one) => marks.some((mark) => one.includes(mark))) ? [kind] : [],
      );
    };
    expect(Object.entries(await things()).filter(([, all]) => all.length === 0)).toEqual([]);
    expect(await theirs()).toEqual(expect.arrayContaining(NAMED));
    for (const { metadata } of clusters) await host.kube.delete(VIRTUAL_CLUSTER, metadata.name, { namespace: "default" });
    await eventually("all are gone", async () => expect((await host.kube.list(VIRTUAL_CLUSTER)).items).toEqual([]));
    expect(await theirs()).toEqual([]);
    expect((await host.kube.list(NODE_CLAIM)).items).toEqual([]);
    await tenants.stop();
    const { kube } = host;
    for (const { metadata } of await waiting())
      await kube.patch(SECRET, metadata.name, "ironwright-system", { metadata: { annotations: { "ironwright.dev/version": "v1.0.0" } } });
    await begin(1);
    await eventually("those of another version are replaced", async () => {
      const all = await full(1);
      expect(all[0]?.metadata.annotations?.["ironwright.dev/version"]).toBe(host.artifacts.kube.version);
    });
    expect((await host.supervisor.cells()).length).toBe(1);
    expect(readdirSync(join(host.dir, "tenants"))).toHaveLength(1);
  }, 180_000);
});

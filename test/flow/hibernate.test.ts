import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIRTUAL_CLUSTER } from "../../src/core/resources.ts";
import { CONFIG_MAP, ENDPOINT_SLICE, ENDPOINTS, type Kube } from "../../src/kube/index.ts";
import { kibibytes } from "../../src/supervise/usage.ts";
import { bootstrapTenant } from "../../src/tenant/bootstrap.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { serviceEndpoints } from "../../src/tenant/service-endpoints.ts";
import { groupsOf, statusField } from "./cell-world.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { cellsOf, controllerOf, createTenant, kubeOfPeople, readyTenant } from "./tenant-world.ts";

const isRoot = process.getuid?.() === 0;
const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_464, to: 21_469 };
const NODES = "10.77.0.1";
const MIB = 2 ** 20;

let host: HostControlPlane;
let tenants: TenantController;
let people: Kube;
let cell: string;

beforeAll(async () => {
  if (!isRoot) return;
  host = await withHost();
  tenants = controllerOf(host, PORTS, {
    // nobody dials it here
    listen: { nodes: NODES, people: ["127.0.0.1"], ports: PORTS },
    ...cellsOf(host, 2_961_000, PORTS.from - 1),
  });
  await tenants.start();
  await createTenant(host, ACME.name);
  await readyTenant(host, ACME);
  people = await kubeOfPeople(host, ACME);
  cell = `tenant-${(await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace))?.metadata.uid}`;
  // what is asleep is nobody's to look after here
  await tenants.stop();
});
afterAll(async () => {
  if (!isRoot) return;
  await people?.close();
  await host?.stop();
  expect(groupsOf(cell)).toEqual([]);
  expect(readFileSync("/proc/swaps", "utf8")).not.toContain(host.dir);
});

describe.runIf(isRoot)("a tenant's control plane", () => {
  test("sees its own files alone, and a loopback; its keys are its own to read and nobody's of it to change", async () => {
    const cluster = await host.kube.get(VIRTUAL_CLUSTER, ACME.name, ACME.namespace);
    const user = String(cluster?.status?.userID);
    const { children } = (await host.supervisor.cell(cell)) ?? { children: [] };
    expect(children.length).toBe(4);
    for (const { name, pid = 0 } of children) {
      expect(statusField(pid, "Uid").split("\t"), name).toEqual([user, user, user, user]);
      expect(statusField(pid, "CapBnd"), name).toMatch(/^0+$/);
      const seen = ["dev", "etc", "opt", "proc", ...(name.endsWith("door") || name.endsWith("apiserver") ? ["run"] : [])];
      expect(readdirSync(`/proc/${pid}/root`).sort(), name).toEqual([...seen, ...(name.endsWith("door") ? [] : ["tenant"]), "tmp"].sort());
      expect(readFileSync(`/proc/${pid}/net/dev`, "utf8").match(/^ *\w+:/gm), name).toEqual(["    lo:"]);
    }
    const home = join(host.dir, "tenants", cell.replace("tenant-", ""));
    for (const file of ["pki/ca.pem", "pki/etcd.pem", "config/encryption.yaml"]) {
      const { mode, uid, gid } = statSync(join(home, file));
      expect([(mode & 0o777).toString(8), uid, String(gid)], file).toEqual(["640", 0, user]);
    }
    expect(statSync(join(home, "outside")).mode & 0o077).toBe(0);
  });

  test("the service kubernetes leads to the port that nodes dial, and what is kept so is not written again", async () => {
    const ports = [{ name: "https", port: PORTS.from, protocol: "TCP" }];
    expect(await people.get(ENDPOINT_SLICE, "kubernetes", "default")).toMatchObject({ endpoints: [{ addresses: [NODES] }], ports });
    expect(await people.get(ENDPOINTS, "kubernetes", "default")).toMatchObject({ subsets: [{ addresses: [{ ip: NODES }], ports }] });
    expect(await bootstrapTenant(people, async () => [], serviceEndpoints({ address: NODES, port: PORTS.from }))).toBe(false);
  });

  test("frozen it holds next to nothing; awake it answers with all that was written, and its controllers go on", async () => {
    await people.create(CONFIG_MAP, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "before", namespace: "default" } });
    await host.supervisor.keepSwap({ bytes: 1024 * MIB, native: host.artifacts.native });
    const before = await host.supervisor.cell(cell);
    expect(before).toMatchObject({ state: "awake" });
    const door = before?.children.find((child) => child.name.endsWith("door"))?.pid ?? 0;
    expect(etcdConnections(door)).toBeGreaterThan(0);
    const slept = await host.supervisor.freezeCell(cell);
    // asleep it costs its etcd no stream
    expect(etcdConnections(door)).toBe(0);
    expect(slept.state).toBe("frozen");
    expect(slept.swappedBytes).toBeGreaterThan(100 * MIB);
    expect(slept.residentBytes).toBeLessThan(4 * MIB);
    expect(slept.chargedBytes).toBeLessThan(24 * MIB);
    for (const child of before?.children ?? []) expect(statusField(child.pid ?? 0, "State")).toMatch(/^T/);
    // what it needs to answer is known before anybody calls, and is a part of what the two hold
    const needed = readFileSync(join(host.dir, "needed", cell, "pages"), "utf8")
      .trim()
      .split("\n");
    const apiserver = before?.children.find((child) => child.name.endsWith("kube-apiserver"))?.pid ?? 0;
    expect(needed.map((line) => Number(line.split(":", 1)[0])).sort()).toEqual([door, apiserver].sort());
    expect(bytesOf(needed)).toBeGreaterThan(4 * MIB);
    expect(bytesOf(needed)).toBeLessThan(
      [door, apiserver].reduce((sum, pid) => sum + kibibytes(readFileSync(`/proc/${pid}/status`, "utf8"), "VmSwap") * 1024, 0),
    );

    const woken = await host.supervisor.wakeCell(cell);
    expect(woken).toMatchObject({ from: "frozen", cold: false });
    expect(await people.get(CONFIG_MAP, "before", "default")).toBeDefined();
    await people.raw("POST", "/apis/apps/v1/namespaces/default/deployments", deployment("after"));
    await eventually("its pod", async () => {
      const pods = (await people.raw("GET", "/api/v1/namespaces/default/pods?labelSelector=app%3Dafter")) as { items: unknown[] };
      expect(pods.items.length).toBe(1);
    });
    expect((await host.supervisor.cell(cell))?.children.map((child) => child.pid)).toEqual(before?.children.map((child) => child.pid));
  });

  test("the gateway's user wakes it, and another user cannot", async () => {
    await host.supervisor.freezeCell(cell);
    const wake = (uid: number) => {
      const script = `
        const { request } = require("node:http");
        const asked = request({ socketPath: process.argv[1], method: "POST", path: process.argv[2] }, (answer) => console.log(answer.statusCode));
        asked.on("error", (error) => console.log(error.code)).end();`;
      const args = ["-e", script, join(host.dir, "run", "wake.sock"), `/cells/${cell}/wake`];
      return new Promise<string>((resolve, reject) =>
        execFile(process.execPath, args, { uid, gid: uid, cwd: "/" }, (error, stdout) => (error ? reject(error) : resolve(stdout.trim()))),
      );
    };
    expect(await wake(2_961_077)).toBe("EACCES");
    expect(await wake(2_961_000)).toBe("200");
    // its controllers go on a moment after it answers
    await eventually("all of it is awake", async () => expect(await host.supervisor.cell(cell)).toMatchObject({ state: "awake" }));
  });

  test("stopped it holds nothing, and starts from nothing with all that was written", async () => {
    expect(await host.supervisor.stopCell(cell)).toMatchObject({ state: "stopped", residentBytes: 0, swappedBytes: 0 });
    const woken = await host.supervisor.wakeCell(cell);
    expect(woken).toMatchObject({ from: "stopped" });
    expect(await people.get(CONFIG_MAP, "before", "default")).toBeDefined();
  });

  test("its etcd restarted while it was frozen: it answers, with what was written", async () => {
    await people.create(CONFIG_MAP, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "second", namespace: "default" } });
    await host.supervisor.freezeCell(cell);
    const etcd = (await host.supervisor.list()).find((child) => child.name === "tenants-etcd-0");
    if (etcd?.pid === undefined) throw new Error("the shard does not run");
    process.kill(etcd.pid, "SIGKILL");
    await eventually("another etcd", async () => {
      const now = (await host.supervisor.list()).find((child) => child.name === "tenants-etcd-0");
      expect(now).toMatchObject({ ready: true });
      expect(now?.pid).not.toBe(etcd.pid);
    });
    expect(await host.supervisor.wakeCell(cell)).toMatchObject({ from: "frozen", cold: false });
    expect(await people.get(CONFIG_MAP, "second", "default")).toBeDefined();
  });
});

/** Connections to etcd's port in the cell's network, proc_net(5): 2379 is 094B, 01 is established. */
function etcdConnections(pid: number): number {
  return readFileSync(`/proc/${pid}/net/tcp`, "utf8").match(/^ *\d+: [0-9A-F]{8}:094B [0-9A-F]{8}:[0-9A-F]{4} 01 /gm)?.length ?? 0;
}

function lengthOf(range: string): number {
  const [from = 0, to = 0] = range.split("-").map((text) => Number.parseInt(text, 16));
  return to - from;
}

/** A note of the supervisor's: PID:STARTTICKS and ranges in hexadecimal, a line a process. */
function bytesOf(lines: readonly string[]): number {
  const ranges = lines.flatMap((line) => line.split(" ").slice(1));
  return ranges.reduce((sum, range) => sum + lengthOf(range), 0);
}

function deployment(name: string): object {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "x" }] } },
    },
  };
}

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newIdentity, readRestored, restoreBackup, takeBackup } from "../../src/backup/index.ts";
import { openLeaseLog } from "../../src/boot/lease-log.ts";
import type { LeaseStore } from "../../src/boot/leases.ts";
import { openBootStore } from "../../src/boot/store.ts";
import { systemClock } from "../../src/core/clock.ts";
import { condition, isTrue } from "../../src/core/conditions.ts";
import { SYSTEM_NAMESPACE } from "../../src/core/names.ts";
import { MACHINE, type Machine, type MachineStatus, NODE_CLAIM } from "../../src/core/resources.ts";
import { CONFIG_MAP, connectKube, eventRecorder, type Kube, NAMESPACE, SECRET } from "../../src/kube/index.ts";
import { type MachineController, machineController, quarantineRestored } from "../../src/machine/index.ts";
import { type Supervisor, startEmbeddedSupervisor, startHost } from "../../src/supervise/index.ts";
import type { TenantController } from "../../src/tenant/index.ts";
import { eventually } from "./eventually.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { Server, Tenant } from "./machine-world.ts";
import { controllerOf, createTenant, firstCertificate, kubeOfPeople, newKeys, nodeKube, readyTenant } from "./tenant-world.ts";

/** A host dies, and another directory takes its place: real etcd, apiservers and a tenant's control plane; power is told. */

const ACME = { namespace: "default", name: "acme" };
const PORTS = { from: 21_541, to: 21_549 };
const bmc = { address: "redfish+http://127.0.0.1", credentialsSecret: "bmc" };
const { identity, recipient } = newIdentity();

let old: HostControlPlane;
let away: string;
let file: string;
let revision: bigint;
/** Written and acknowledged before the backup began. */
const before: string[] = [];
/** While it was written. */
const meanwhile: string[] = [];
let leases: LeaseStore;
let tenants: TenantController;
/** Nodes of acme: one that stays, one that is revoked after the backup, and one that joins after it. */
const nodes: Record<"stays" | "revoked" | "joined", Kube | undefined> = { stays: undefined, revoked: undefined, joined: undefined };
let restored: { dir: string; supervisor: Supervisor; kube: Kube; ms: number } | undefined;

const put = (name: string) =>
  old.kube.create(CONFIG_MAP, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: "default" },
    data: { it: name.repeat(50) },
  });

function machine(name: string, number: number): Machine {
  const bootMAC = `52:54:00:77:02:0${number}`;
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "Machine", metadata: { name }, spec: { bmc, bootMAC, erase: true } };
}

async function known(name: string, number: number, status: MachineStatus): Promise<void> {
  const made = await old.kube.create(MACHINE, machine(name, number));
  await old.kube.replaceStatus(MACHINE, { ...made, status });
}

const at = "2026-01-01T00:00:00Z";
const operation = { kind: "inspect", fence: 7, state: "Succeeded", done: [], startedAt: at, deadline: at, attempt: 1 } as const;
const inspected = { type: "Inspected", status: "True", reason: "Inspected", message: "", lastTransitionTime: at } as const;

async function joins(name: keyof typeof nodes): Promise<void> {
  const people = await kubeOfPeople(old, ACME);
  const credential = await tenants.admit(ACME, { ...node(name), addresses: ["10.77.0.11"] });
  const keys = await newKeys();
  nodes[name] = await nodeKube(credential, await firstCertificate(credential, keys, people), keys);
  await renewsLease(name);
  await people.close();
}

const node = (name: keyof typeof nodes) => ({ claim: name, claimUid: name, nodeName: name });

async function renewsLease(name: keyof typeof nodes): Promise<void> {
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace: "kube-node-lease" } };
  await nodes[name]?.raw("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?dryRun=All", lease);
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

const options = (to: string) => ({
  dataDir: old.dir,
  to,
  lock: { recipients: [recipient] },
  tenants: true,
  config: { dataDir: old.dir },
  versions: { ironwright: "0.0.0", kubernetes: old.artifacts.kube.version },
  clock: systemClock,
  random: randomBytes,
  log: old.log,
});
const restore = (from: string, into: string, identities: readonly string[] = [identity]) =>
  restoreBackup({
    file: from,
    into,
    unlock: { identities },
    kubeBin: old.artifacts.kube.bin,
    clock: systemClock,
    random: randomBytes,
    log: old.log,
  });

beforeAll(async () => {
  away = mkdtempSync(join(tmpdir(), "iwb-"));
  old = await withHost();
  const { kube } = old;
  await kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } });
  const secret = { name: "bmc", namespace: SYSTEM_NAMESPACE };
  await kube.apply(SECRET, { apiVersion: "v1", kind: "Secret", metadata: secret, stringData: { username: "admin", password: "right" } });
  await known("free-off", 1, { phase: "Available", power: "Off", operation, conditions: [inspected] });
  await known("free-on", 2, { phase: "Available", power: "Off", operation, conditions: [inspected] });
  await known("moving", 3, { phase: "Installing", operation: { ...operation, kind: "install", state: "Running" } });
  tenants = controllerOf(old, PORTS);
  await tenants.start();
  await createTenant(old, ACME.name);
  await readyTenant(old, ACME);
  const people = await kubeOfPeople(old, ACME);
  const mine = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "mine", namespace: "default" } } as const;
  await people.create(CONFIG_MAP, { ...mine, data: { mine: "a tenant's own" } });
  await people.close();
  for (const name of ["stays", "revoked"] as const) await joins(name);

  leases = openLeaseLog({ directory: join(old.dir, "leases") });
  for (let address = 1; address <= 500; address += 1)
    leases.put({ address, client: `id:${address}`, mac: "52:54:00:00:00:01", expires: 2e12 });
  await leases.flush();
  const store = openBootStore(join(old.dir, "boot.sqlite"));
  store.putRecord({ machine: "free-off", macs: ["52:54:00:77:02:01"], hostname: "free-off", intent: { boot: "disk" } });
  store.close();
  const numbers = Array.from({ length: 150 }, (_, number) => number);
  before.push(...(await Promise.all(numbers.map(async (number) => (await put(`before-${number}`)).metadata.name))));

  let isTaken = false;
  const writing = (async () => {
    for (let number = 0; !isTaken; number += 1) {
      meanwhile.push((await put(`meanwhile-${number}`)).metadata.name);
      leases.put({ address: 1000 + number, client: `id:${number}`, mac: "52:54:00:00:00:02", expires: 2e12 });
    }
  })();
  const taken = await takeBackup(options(`${away}/`)).finally(() => {
    isTaken = true;
  });
  await writing;
  ({ file } = taken);
  revision = BigInt(taken.manifest.etcd?.revision ?? "0");
  expect(taken.manifest.shards).toMatchObject([{ name: "shard-0", keys: expect.any(Number) }]);
}, 120_000);

afterAll(async () => {
  await tenants?.stop();
  await restored?.kube.close();
  await restored?.supervisor.shutdown().catch(() => {});
  await old?.stop();
  rmSync(away, { recursive: true, force: true });
  if (restored) rmSync(restored.dir, { recursive: true, force: true });
});

describe("what is no backup, or not whole, is refused and changes nothing", () => {
  const spoiled = (spoil: (copy: string) => void) => {
    const copy = join(away, "spoiled.age");
    writeFileSync(copy, readFileSync(file));
    spoil(copy);
    return copy;
  };
  test.each<[string, (copy: string) => void, string, RegExp]>([
    ["cut short", (copy) => truncateSync(copy, readFileSync(copy).length - 1000), "IRW_BACKUP_ARCHIVE", /cut short or altered/],
    [
      "altered in the middle",
      (copy) => {
        const bytes = readFileSync(copy);
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        writeFileSync(copy, bytes);
      },
      "IRW_BACKUP_ARCHIVE",
      /cut short or altered/,
    ],
    ["something else", (copy) => writeFileSync(copy, "PK\u0003\u0004"), "IRW_BACKUP_ARCHIVE", /not an age file/],
  ])("%s", async (_, spoil, code, message) => {
    const into = join(away, "refused");
    await expect(restore(spoiled(spoil), into)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(existsSync(into)).toBe(false);
  });

  test("somebody else's key", async () => {
    await expect(restore(file, join(away, "refused"), [newIdentity().identity])).rejects.toMatchObject({ code: "IRW_BACKUP_KEY" });
    expect(existsSync(join(away, "refused"))).toBe(false);
  });

  test("a directory that holds something", async () => {
    await expect(restore(file, old.dir)).rejects.toMatchObject({ code: "IRW_RESTORE_TARGET", message: expect.stringMatching(/not empty/) });
  });
});

test("nothing secret lies open in the file, nor is anything left beside it", () => {
  const bytes = readFileSync(file);
  for (const text of ["PRIVATE KEY", "before-1", "a tenant's own"]) expect(bytes.includes(text)).toBe(false);
  expect(existsSync(join(old.dir, "run", "backup"))).toBe(false);
  expect(readdirSync(away).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("the machine dies; another directory serves all that was acknowledged before the backup", async () => {
  // written after the backup: lost with the machine
  await put("after");
  const claim = await old.kube.create(NODE_CLAIM, {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name: "later" },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: "gpu" }, requirements: [] },
  });
  const claimRef = { name: "later", uid: claim.metadata.uid ?? "", tenant: "default.acme" };
  await old.kube.patch(MACHINE, "free-on", undefined, { spec: { claimRef } });
  const lastSeen = BigInt((await old.kube.list(CONFIG_MAP, { namespace: "default" })).resourceVersion ?? "0");
  await tenants.revoke(ACME, node("revoked"));
  await expect(renewsLease("revoked")).rejects.toThrow(/no live claim/);
  await joins("joined");
  await tenants.stop();
  await leases.close();
  await old.kube.close();
  for (const child of await old.supervisor.list()) if (child.pid) process.kill(child.pid, "SIGKILL");
  await old.supervisor.shutdown();

  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  const { ms } = await restore(file, dir);
  const { artifacts, log } = old;
  const supervisor = await startEmbeddedSupervisor({ dir, log });
  const { kubeconfig } = await startHost({
    supervisor,
    dataDir: dir,
    kubeBin: artifacts.kube.bin,
    redisServer: artifacts.redis,
    listen: { address: "127.0.0.1", port: 0 },
    log,
    external: { redis: true },
  });
  const kube = connectKube(readFileSync(kubeconfig, "utf8"));
  restored = { dir, supervisor, kube, ms };

  const listed = await kube.list(CONFIG_MAP, { namespace: "default" });
  const names = new Set(listed.items.map((item) => item.metadata.name));
  expect(before.filter((name) => !names.has(name))).toEqual([]);
  expect(names.has("after")).toBe(false);
  // of those written meanwhile a beginning is there: one revision was read, not some of each
  const there = meanwhile.map((name) => names.has(name));
  expect(there.lastIndexOf(true)).toBe(there.indexOf(false) < 0 ? there.length - 1 : there.indexOf(false) - 1);
  expect((await kube.get(SECRET, "bmc", SYSTEM_NAMESPACE))?.data?.password).toBe(base64("right"));
  // revisions go on beyond all that anybody may have seen: whoever watched the old host lists anew
  expect(BigInt(listed.resourceVersion ?? "0")).toBeGreaterThan(lastSeen + 900_000_000n);
  expect(revision).toBeLessThan(lastSeen);
  const watched = await kube.raw("GET", `/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion=${lastSeen}`);
  expect(watched).toMatchObject({ type: "ERROR", object: { code: 410 } });
  await kube.create(CONFIG_MAP, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "new", namespace: "default" } });
  expect((await kube.get(CONFIG_MAP, "new", "default"))?.metadata.name).toBe("new");

  const log2 = openLeaseLog({ directory: join(dir, "leases") });
  expect([...log2.leases.keys()].filter((address) => address <= 500)).toHaveLength(500);
  await log2.close();
  const store = openBootStore(join(dir, "boot.sqlite"));
  expect(store.records()).toMatchObject([{ machine: "free-off", intent: { boot: "disk" } }]);
  store.close();
}, 120_000);

test("its tenant answers with what it had, and nodes come in by the list of the backup", async () => {
  if (!restored) throw new Error("nothing is restored");
  const host = { ...old, ...restored };
  tenants = controllerOf(host, PORTS);
  await tenants.start();
  await eventually("it is Ready", () => expect(tenants.list()).toEqual([ACME]));
  const people = await kubeOfPeople(host, ACME);
  expect((await people.get(CONFIG_MAP, "mine", "default"))?.data).toEqual({ mine: "a tenant's own" });
  await people.close();
  await renewsLease("stays");
  await expect(renewsLease("joined")).rejects.toThrow(/no live claim/);
  // nobody is left who knows that it was revoked: as docs/guide/disaster-recovery.md says
  await renewsLease("revoked");
  await tenants.revoke(ACME, node("revoked"));
  await expect(renewsLease("revoked")).rejects.toThrow(/no live claim/);
  for (const name of ["stays", "revoked", "joined"] as const) await nodes[name]?.close();
}, 120_000);

describe("machines", () => {
  let controller: MachineController | undefined;
  const jobs: string[] = [];
  const servers = { "free-off": new Server("ssh-ed25519 AAAA"), "free-on": new Server("ssh-ed25519 AAAA") };
  afterAll(() => controller?.stop());

  const get = async (name: string) => {
    const found = await restored?.kube.get(MACHINE, name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };
  async function until(what: string, name: string, holds: (machine: Machine) => boolean): Promise<Machine> {
    const end = Date.now() + 20_000;
    for (;;) {
      const found = await get(name);
      if (holds(found)) return found;
      if (Date.now() > end) throw new Error(`${what}: not in time; ${JSON.stringify(found.status, null, 1)}`);
      await systemClock.sleep(25);
    }
  }

  test("all are quarantined first, with what is known and the way out; fences are beyond the dead host's", async () => {
    if (!restored) throw new Error("nothing is restored");
    const { kube, dir } = restored;
    const from = readRestored(dir);
    if (!from) throw new Error("the directory does not say where it is from");
    const events = eventRecorder({ kube, component: "test", clock: systemClock, log: old.log });
    const judge = () =>
      quarantineRestored({ kube, from, bootIntent: () => ({ boot: "disk" }), now: () => new Date(), log: old.log, events });
    expect(await judge()).toBe(3);
    const free = await get("free-off");
    expect(condition(free.status?.conditions, "Quarantined")).toMatchObject({ status: "True", reason: "RestoredFromBackup" });
    expect(free.status?.operation?.fence).toBe(1_000_007);
    const moving = await get("moving");
    expect(condition(moving.status?.conditions, "Quarantined")).toMatchObject({
      reason: "DivergedFromBackup",
      message: expect.stringMatching(/backup of 20.*it was Installing.*spec\.maintenance/),
    });
    expect(moving.status?.operation?.state).toBe("Failed");
    // cut off and begun anew: nothing is judged twice
    await judge();
    expect((await get("free-off")).metadata.resourceVersion).toBe(free.metadata.resourceVersion);
  });

  test("one that was claimed after the backup and runs is left running, and given to nobody", async () => {
    if (!restored) throw new Error("nothing is restored");
    const { kube } = restored;
    servers["free-on"].on = true;
    const running: MachineController = machineController({
      kube,
      bootPlane: servers["free-on"].bootPlane(),
      tenants: new Tenant().tenants(),
      connectBmc: servers["free-on"].connectBmc,
      queue: {
        enqueue: async (job) => {
          jobs.push(`${job.machine} ${job.kind}`);
          // what comes after its judgement is work on a real machine
          if (job.machine === "free-on" && !jobs.slice(0, -1).includes("free-on inspect"))
            await running.run(job, AbortSignal.timeout(60_000));
        },
      },
      playbooksDir: join(import.meta.dirname, "../../playbooks"),
      dataDir: restored.dir,
      clock: systemClock,
      random: randomBytes,
      log: old.log,
      events: eventRecorder({ kube, component: "test", clock: systemClock, log: old.log }),
    });
    controller = running;
    await running.start();
    const seen = await until(
      "diverged",
      "free-on",
      (one) => condition(one.status?.conditions, "Quarantined")?.reason === "DivergedFromBackup",
    );
    expect(condition(seen.status?.conditions, "Quarantined")?.message).toMatch(/its power is on.*wiped before anybody/);
    expect(servers["free-on"]).toMatchObject({ on: true, boots: [] });
    // the one that is off is looked at before anything else; the one that was on the move is not touched
    await until("inspected", "free-off", (one) => one.status?.phase === "Inspecting");
    expect(jobs.filter((job) => job.startsWith("moving"))).toEqual([]);
    expect(jobs.every((job) => job.endsWith(" inspect"))).toBe(true);
  });

  test("a person lifts it; what is on its disks is wiped before anybody gets it", async () => {
    await restored?.kube.patch(MACHINE, "free-on", undefined, { spec: { maintenance: true } });
    const lifted = await until("lifted", "free-on", (one) => !isTrue(one.status?.conditions, "Quarantined"));
    expect(isTrue(lifted.status?.conditions, "WipeUnproven")).toBe(true);
    await restored?.kube.patch(MACHINE, "free-on", undefined, { spec: { maintenance: null } });
    await until("inspected anew", "free-on", (one) => one.status?.phase === "Inspecting");
    expect(jobs.filter((job) => job.endsWith(" install"))).toEqual([]);
  });
});

test("the file opens without us, by age, gzip and tar", () => {
  const age = spawnSync("age", ["--version"]);
  if (age.error) return;
  const keys = join(away, "key");
  writeFileSync(keys, `${identity}\n`, { mode: 0o600 });
  const listed = spawnSync("sh", ["-c", `age -d -i ${keys} ${file} | tar tz`], { encoding: "utf8" });
  expect(listed.stdout).toContain("manifest.json");
});

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { condition, isTrue } from "../../src/core/conditions.ts";
import { SYSTEM_NAMESPACE } from "../../src/core/names.ts";
import { MACHINE, MACHINE_CLASS, type Machine, NODE_CLAIM, OS_IMAGE, type Phase } from "../../src/core/resources.ts";
import { EVENT, type EventRecorder, eventRecorder, NAMESPACE, SECRET } from "../../src/kube/index.ts";
import { type Dropbear, startDropbear } from "../../src/machine/dropbear.fixture.ts";
import { type MachineController, machineController, quarantineRestored } from "../../src/machine/index.ts";
import { type OperationQueue, type OperationWorker, operationQueue, operationWorker } from "../../src/work/index.ts";
import { untoldOf } from "../rack/described.ts";
import { type HostControlPlane, withHost } from "./host-control-plane.ts";
import { FORWARDING_KEY, factsScript, harmlessPlaybooks, Server, Tenant } from "./machine-world.ts";

/** Real apiserver, etcd, Redis and SSH; power and network boot are told. What the steps do to disks is `test/rack`'s. */

const shipped = fileURLToPath(new URL("../../playbooks", import.meta.url));
const SHA = "a".repeat(64);
const bmc = { address: "redfish+http://127.0.0.1", credentialsSecret: "bmc" };

let host: HostControlPlane;
let machineSsh: Dropbear;
let server: Server;
let tenant: Tenant;
let daemon: { controller: MachineController; queue: OperationQueue; worker: OperationWorker; events: EventRecorder } | undefined;
let number = 0;
let name: string;

beforeAll(async () => {
  host = await withHost();
  await host.kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } });
  await applySecret("right");
  const image = join(host.dir, "image");
  writeFileSync(image, "image");
  await host.kube.apply(OS_IMAGE, {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "OSImage",
    metadata: { name: "os" },
    spec: { url: `file://${image}`, sha256: SHA, format: "ext4+lz4", sizeBytes: 2 ** 30 },
  });
  await host.kube.apply(OS_IMAGE, {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "OSImage",
    metadata: { name: "large" },
    spec: { url: `file://${image}`, sha256: SHA, format: "ext4+lz4", sizeBytes: 100 * 2 ** 30 },
  });
  for (const [machineClass, os] of [
    ["gpu", "os"],
    ["large", "large"],
  ] as const)
    await host.kube.apply(MACHINE_CLASS, {
      apiVersion: "ironwright.dev/v1alpha1",
      kind: "MachineClass",
      metadata: { name: machineClass },
      spec: { image: os, gpus: { count: 1, id: "10de:2330" }, wipe: "discard" },
    });
});
afterAll(() => host.stop());

beforeEach(async () => {
  number += 1;
  name = `m-${number}`;
  machineSsh = await startDropbear();
  server = new Server(machineSsh.hostKey);
  tenant = new Tenant();
});
afterEach(async () => {
  await stopDaemon();
  await host.kube.patch(MACHINE, name, undefined, { metadata: { finalizers: null } });
  await host.kube.delete(MACHINE, name);
  await machineSsh.stop();
});

async function applySecret(password: string): Promise<void> {
  const metadata = { name: "bmc", namespace: SYSTEM_NAMESPACE };
  await host.kube.apply(SECRET, { apiVersion: "v1", kind: "Secret", metadata, stringData: { username: "admin", password } });
}

const ran = (step: string) => join(machineSsh.dir, `ran-${step}`);
const count = (step: string) => (existsSync(ran(step)) ? readFileSync(ran(step), "utf8").length : 0);

function scripts(change: Readonly<Record<string, string>> = {}): Record<string, string> {
  const told = (step: string, output = "") => `printf x >> ${ran(step)}\n${output}`;
  return {
    "inspect/facts": told("facts", factsScript()),
    "install/consent": told("consent"),
    "install/partition": told("partition", 'echo "{\\"root\\":\\"${IW_DISK}p3\\",\\"esp\\":\\"${IW_DISK}p2\\"}"'),
    "install/write-image": told("write-image", `echo '{"sha256":"${SHA}"}'`),
    "install/bootloader": told("bootloader", `echo '{"order":"","made":{}}'`),
    "install/configure": told("configure", `echo '{"hostKey":"${machineSsh.hostKey}"}'`),
    "install/remove-key": told("remove-key"),
    "join/gpu": told("gpu", `echo '[{"address":"0000:43:00.0","id":"10de:2330"}]'`),
    "join/forwarding": told("forwarding", `printf %s "$IW_PUBLIC_KEY" > ${machineSsh.dir}/forwarding-key; echo true`),
    "join/credential": told("credential"),
    "join/start": told("start"),
    "release/wipe": told("wipe", `echo '[{"path":"/dev/nvme0n1","method":"discard"}]'`),
    "release/read-back": told("read-back", `echo '[{"path":"/dev/nvme0n1","samples":1000}]'`),
    ...change,
  };
}

async function startDaemon(change: Readonly<Record<string, string>> = {}): Promise<void> {
  const { kube, log } = host;
  const playbooksDir = harmlessPlaybooks(join(machineSsh.dir, "playbooks"), shipped, scripts(change));
  const queue = await operationQueue({ redis: host.redis, log });
  const events = eventRecorder({ kube, component: "test", clock: systemClock, log });
  const controller = machineController({
    kube,
    bootPlane: server.bootPlane(),
    tenants: tenant.tenants(),
    connectBmc: server.connectBmc,
    queue,
    playbooksDir,
    sshPort: machineSsh.port,
    dataDir: machineSsh.dir,
    clock: systemClock,
    random: (bytes) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))),
    log,
    events,
  });
  await controller.start();
  const worker = await operationWorker({ redis: host.redis, log, run: (job, signal) => controller.run(job, signal) });
  daemon = { controller, queue, worker, events };
}

async function stopDaemon(): Promise<void> {
  await daemon?.worker.close();
  await daemon?.controller.stop();
  await daemon?.queue.close();
  daemon = undefined;
}

async function declare(spec: Partial<Machine["spec"]> = {}): Promise<void> {
  const bootMAC = `52:54:00:77:01:${number.toString(16).padStart(2, "0")}`;
  await host.kube.create(MACHINE, {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "Machine",
    metadata: { name },
    spec: { bmc, bootMAC, ...spec },
  });
}

async function claim(machineClass = "gpu"): Promise<void> {
  const made = await host.kube.create(NODE_CLAIM, {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name: `claim-${number}` },
    spec: { nodeClassRef: { group: "ironwright.dev", kind: "MachineClass", name: machineClass }, requirements: [] },
  });
  const claimRef = { name: made.metadata.name, uid: made.metadata.uid ?? "", tenant: "default.acme" };
  await host.kube.patch(MACHINE, name, undefined, { spec: { claimRef } });
}

async function current(): Promise<Machine> {
  const machine = await host.kube.get(MACHINE, name);
  if (!machine) throw new Error(`${name} is gone`);
  return machine;
}

async function until(what: string, is: (machine: Machine) => boolean, ms = 30_000): Promise<Machine> {
  const deadline = Date.now() + ms;
  for (;;) {
    const machine = await current();
    if (is(machine)) return machine;
    if (Date.now() > deadline) throw new Error(`${what}: not in time; ${JSON.stringify(machine.status, null, 1)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const phase = (wanted: Phase) => (machine: Machine) => machine.status?.phase === wanted && machine.status.operation?.state === "Succeeded";

test("from declared to in use, and back, every step on the record", async () => {
  await startDaemon();
  await declare();
  const available = await until("Available", phase("Available"));
  expect(available.status).toMatchObject({ power: "Off", summary: { cpu: "2", gpus: "1x NVIDIA H100 SXM5 80GB" } });
  for (const type of ["BMCReachable", "CredentialsValid", "Inspected"]) expect(isTrue(available.status?.conditions, type)).toBe(true);
  await until("Ready", (machine) => isTrue(machine.status?.conditions, "Ready"));
  expect(server.boots).toEqual(["installer"]);

  await claim();
  await until("node-ready", (machine) => machine.status?.operation?.step === "node-ready");
  tenant.ready = true;
  const inUse = await until("InUse", phase("InUse"));
  expect(inUse.status).toMatchObject({ hostKey: machineSsh.hostKey, lastTenant: "default.acme", imageSha256: SHA, address: "127.0.0.1" });
  expect(tenant.road).toEqual({ ssh: { port: machineSsh.port, hostKey: machineSsh.hostKey }, podCIDR: "10.1.3.0/24" });
  expect(readFileSync(join(machineSsh.dir, "forwarding-key"), "utf8")).toBe(FORWARDING_KEY);
  expect(inUse.status?.operation?.done.map((one) => one.step)).toEqual([
    ...["choose", "network-boot", "partition", "write-image", "bootloader", "configure", "boot-own-disk"],
    ...["gpu-gate", "credential", "start", "node-ready", "remove-key"],
  ]);

  await host.kube.delete(NODE_CLAIM, `claim-${number}`);
  const back = await until("Available again", (machine) => phase("Available")(machine) && machine.status?.operation?.kind === "release");
  expect(back.spec.claimRef).toBeUndefined();
  expect(back.status).toMatchObject({
    power: "Off",
    lastWipe: { tenant: "default.acme", disks: [{ path: "/dev/nvme0n1", method: "discard", samples: 1000, verified: true }] },
  });
  for (const gone of ["lastTenant", "lastClaim", "hostKey", "imageSha256"] as const) expect(back.status?.[gone]).toBeUndefined();
  expect(tenant.revoked).toEqual([`claim-${number}`]);
  const phases = Map.groupBy(back.status?.history ?? [], (one) => one.phase);
  expect([...phases].map(([phase, entries]) => [phase, entries.map((one) => one.event).join(" ")])).toEqual([
    ["Discovered", "Discovered"],
    ["Inspecting", "inspect begins bmc network-boot facts wipe read-back"],
    ["Available", "Available rest Available hand-back"],
    ["Installing", "install begins choose network-boot partition write-image bootloader configure"],
    ["Joining", "Joining boot-own-disk gpu-gate credential start node-ready"],
    ["InUse", "InUse remove-key"],
    ["Releasing", "release begins revoke network-boot wipe read-back power-off"],
  ]);
  expect(await told()).toEqual([
    "Normal InspectBegins: it is new",
    "Normal Available: inspected and powered off",
    "Normal InstallBegins: a claim names it",
    "Normal Installed: it runs from its own disk",
    "Normal Joined: Ready node of default.acme",
    "Normal ReleaseBegins: its claim ended",
    "Normal Released: the wipe was read back; nothing of default.acme is left",
  ]);
  expect(untoldOf(described())).toEqual([]);
});

function described(): string {
  const own = ["--kubeconfig", host.kubeconfig, "--cache-dir", join(host.dir, "kubectl")];
  return spawnSync(join(host.artifacts.kube.bin, "kubectl"), [...own, "describe", "machine", name], { encoding: "utf8" }).stdout;
}

/** What kubectl describe shows of this Machine below Events, in order. */
async function told(): Promise<readonly string[]> {
  await daemon?.events.flush();
  const { items } = await host.kube.list(EVENT, { namespace: "default", fieldSelector: `involvedObject.name=${name}` });
  const inOrder = items.toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  return inOrder.map((one) => `${one.type} ${one.reason}: ${one.message}`);
}

test("a daemon that is stopped mid-step goes on with that step, and only that", async () => {
  const hang = `printf x >> ${ran("write-image")}\nwhile :; do sleep 0.1; done`;
  await startDaemon({ "install/write-image": hang });
  await declare();
  await until("Available", phase("Available"));
  tenant.ready = true;
  await claim();
  await expect.poll(() => count("write-image"), { timeout: 30_000 }).toBe(1);
  await stopDaemon();
  const interrupted = await current();
  expect(interrupted.status?.operation).toMatchObject({ state: "Running", step: "write-image" });

  await startDaemon();
  const inUse = await until("InUse", phase("InUse"));
  expect(inUse.status?.operation?.fence).toBe(interrupted.status?.operation?.fence);
  expect([count("partition"), count("write-image"), count("bootloader")]).toEqual([1, 2, 1]);
  expect(server.boots.filter((what) => what === "installer")).toHaveLength(2);
});

test("a machine whose system gives no way to its pods joins without", async () => {
  await startDaemon({ "join/forwarding": `echo '"there is no OpenSSH server"'` });
  await declare();
  await until("Available", phase("Available"));
  tenant.ready = true;
  await claim();
  await until("InUse", phase("InUse"));
  expect(tenant.road).toEqual({ podCIDR: "10.1.3.0/24" });
});

test("an installer that is gone when the daemon comes back is booted again, with a new nonce", async () => {
  await startDaemon({ "install/write-image": `printf x >> ${ran("write-image")}\nwhile :; do sleep 0.1; done` });
  await declare();
  await until("Available", phase("Available"));
  tenant.ready = true;
  await claim();
  await expect.poll(() => count("write-image"), { timeout: 30_000 }).toBe(1);
  await stopDaemon();
  const nonce = (await current()).status?.operation?.nonce;
  server.on = false;
  await startDaemon();
  await until("InUse", phase("InUse"), 60_000);
  expect(server.boots.filter((what) => what === "installer")).toHaveLength(3);
  expect(server.record?.intent.boot).toBe("disk");
  expect(nonce).toBeTruthy();
});

test("an installation whose claim ends is left, and the machine wiped", async () => {
  await startDaemon({ "install/write-image": `printf x >> ${ran("write-image")}\nwhile :; do sleep 0.1; done` });
  await declare();
  await until("Available", phase("Available"));
  await claim();
  await expect.poll(() => count("write-image"), { timeout: 30_000 }).toBe(1);
  await host.kube.delete(NODE_CLAIM, `claim-${number}`);
  const back = await until("Available again", (machine) => phase("Available")(machine) && machine.status?.operation?.kind === "release");
  expect(back.status?.lastWipe?.tenant).toBe("default.acme");
  expect(count("bootloader")).toBe(0);
});

test("data without consent: read, never written, left on its own disk; with consent it is wiped first", async () => {
  await startDaemon({ "inspect/facts": `printf x >> ${ran("facts")}\n${factsScript("gpt ext4")}` });
  await declare();
  const left = await until(
    "ConsentMissing",
    (machine) => isTrue(machine.status?.conditions, "ConsentMissing") && machine.status?.operation?.state === "Succeeded",
  );
  expect(left.status?.phase).toBe("Discovered");
  expect(condition(left.status?.conditions, "ConsentMissing")?.reason).toBe("IRW_CONSENT_MISSING");
  expect([server.boots, server.on, count("wipe")]).toEqual([["installer", "disk"], true, 0]);

  await host.kube.patch(MACHINE, name, undefined, { spec: { erase: true } });
  const available = await until("Available", phase("Available"));
  expect([count("wipe"), count("read-back")]).toEqual([1, 1]);
  expect(available.status?.inventory?.disks[0]?.signatures).toEqual([]);
});

test("data that came after the inspection is neither overwritten nor wiped: the machine is inspected anew", async () => {
  await startDaemon({ "install/consent": "echo 'consent /dev/nvme0n1 with ext4' >&2\nexit 4" });
  await declare();
  await until("Available", phase("Available"));
  await claim();
  const refused = await until("Installed=False", (machine) => condition(machine.status?.conditions, "Installed")?.status === "False");
  expect(condition(refused.status?.conditions, "Installed")).toMatchObject({ reason: "IRW_CONSENT_MISSING" });
  expect(refused.status?.lastTenant).toBeUndefined();
  await host.kube.delete(NODE_CLAIM, `claim-${number}`);
  const back = await until("inspected anew", (machine) => machine.spec.claimRef === undefined && phase("Available")(machine));
  expect(back.status?.operation?.kind).toBe("inspect");
  expect([count("facts"), count("partition"), count("wipe"), count("read-back")]).toEqual([2, 0, 0, 0]);
});

test("a node is revoked when its tenant answers, also when its claim was taken off the Machine by hand", async () => {
  await startDaemon();
  await declare();
  await until("Available", phase("Available"));
  tenant.ready = true;
  await claim();
  const inUse = await until("InUse", phase("InUse"));
  expect(inUse.status?.lastClaim).toEqual(inUse.spec.claimRef);
  tenant.absent = 2;
  await host.kube.patch(MACHINE, name, undefined, { spec: { claimRef: null } });
  const back = await until("Available again", (machine) => phase("Available")(machine) && machine.status?.operation?.kind === "release");
  expect([tenant.revoked, back.status?.operation?.attempt]).toEqual([[`claim-${number}`], 1]);
});

test("a refused password is not tried again until the Secret is another", async () => {
  await startDaemon();
  server.password = "other";
  await declare();
  const refused = await until(
    "CredentialsValid=False",
    (machine) => condition(machine.status?.conditions, "CredentialsValid")?.status === "False",
  );
  expect(refused.status?.operation).toMatchObject({ state: "Failed", attempt: 1 });
  expect(refused.status?.operation?.nextTryAt).toBeUndefined();
  expect(refused.status?.phase).toBe("Discovered");
  for (const type of ["CredentialsValid", "Inspected"])
    expect(condition(refused.status?.conditions, type)).toMatchObject({
      reason: "IRW_BMC_CREDENTIALS",
      message: expect.stringMatching(/refuses user admin; correct the Secret; .*\. Attempt 1; next try when its Secret changes$/),
    });
  await applySecret("other");
  try {
    await until("Available", phase("Available"));
  } finally {
    await applySecret("right");
  }
});

test("an unreachable BMC and a wrong digest are conditions with a cause and a next try", async () => {
  server.trouble = "unreachable";
  await startDaemon({ "install/write-image": `echo '{"sha256":"${"b".repeat(64)}"}'` });
  await declare();
  const out = await until("BMCReachable=False", (machine) => condition(machine.status?.conditions, "BMCReachable")?.status === "False");
  expect(out.status?.operation).toMatchObject({ state: "Failed", nextTryAt: expect.any(String) });
  const unreachable = `timed out; check its cable and address; .*\\. Attempt 1; next try ${out.status?.operation?.nextTryAt}$`;
  for (const type of ["BMCReachable", "Inspected"])
    expect(condition(out.status?.conditions, type)).toMatchObject({
      reason: "IRW_BMC_UNREACHABLE",
      message: expect.stringMatching(unreachable),
    });
  server.trouble = "none";
  await until("Available", phase("Available"));
  await claim();
  const bad = await until("Installed=False", (machine) => condition(machine.status?.conditions, "Installed")?.status === "False");
  expect(condition(bad.status?.conditions, "Installed")).toMatchObject({ reason: "IRW_IMAGE_DIGEST" });
  expect(bad.status?.operation?.nextTryAt).toBeTruthy();
  expect(count("bootloader")).toBe(0);
});

test("a disk too small for the image is a condition with the cause and the next try, and no disk is touched", async () => {
  await startDaemon();
  await declare();
  await until("Available", phase("Available"));
  await claim("large");
  const refused = await until("Installed=False", (machine) => condition(machine.status?.conditions, "Installed")?.status === "False");
  expect(condition(refused.status?.conditions, "Installed")).toMatchObject({
    reason: "IRW_DISK_NONE",
    message: expect.stringMatching(/no disk that is of at least 100\.1 GiB; it has \/dev\/nvme0n1 \(8\.0 GiB, .*Attempt 1; next try 20/),
  });
  expect(refused.status?.operation).toMatchObject({ kind: "install", state: "Failed", step: "choose", nextTryAt: expect.any(String) });
  expect(refused.status?.lastTenant).toBeUndefined();
  expect([server.boots, count("consent"), count("partition"), count("write-image")]).toEqual([["installer"], 0, 0, 0]);
  expect(await told()).toContainEqual(expect.stringMatching(/^Warning InstallFailed: .*no disk that is of at least 100\.1 GiB/));
});

test("a wipe that is not proven keeps the machine out of use", async () => {
  await startDaemon({ "release/read-back": "echo 'unproven /dev/nvme0n1 data in a sampled block (seed 7)' >&2\nexit 3" });
  await declare();
  await until("Available", phase("Available"));
  tenant.ready = true;
  await claim();
  await until("InUse", phase("InUse"));
  await host.kube.delete(NODE_CLAIM, `claim-${number}`);
  const stuck = await until("Released=False", (machine) => condition(machine.status?.conditions, "Released")?.status === "False");
  expect(condition(stuck.status?.conditions, "Released")).toMatchObject({ reason: "IRW_WIPE_UNPROVEN" });
  expect(stuck.status).toMatchObject({ phase: "Releasing", lastTenant: "default.acme" });
  expect(stuck.status?.lastWipe).toBeUndefined();
  expect(stuck.spec.claimRef).toBeDefined();
});

describe("known from a backup alone, and off", () => {
  async function restored(): Promise<void> {
    await declare({ erase: true });
    const before = await current();
    await host.kube.replaceStatus(MACHINE, { ...before, status: { phase: "Available", power: "Off" } });
    const { kube, log } = host;
    const events = eventRecorder({ kube, component: "test", clock: systemClock, log });
    const from = { id: name, takenAt: "2026-01-01T00:00:00Z" };
    await quarantineRestored({ kube, from, bootIntent: () => ({ boot: "disk" }), now: () => systemClock.now(), log, events });
  }

  test("it is looked at, wiped and read back before it may be had", async () => {
    await restored();
    await startDaemon();
    const free = await until("wiped", (one) => one.status?.phase === "Available" && one.status.lastWipe !== undefined);
    expect(free.status?.operation?.kind).toBe("release");
    for (const type of ["Quarantined", "WipeUnproven"]) expect(condition(free.status?.conditions, type)).toBeUndefined();
    expect([count("facts"), count("wipe"), count("read-back")]).toEqual([1, 1, 1]);
  });

  test("data that the backup does not know of is left, whatever consent there was, and a person decides", async () => {
    await restored();
    await startDaemon({ "inspect/facts": `printf x >> ${ran("facts")}\n${factsScript("gpt")}` });
    const found = await until("diverged", (one) => condition(one.status?.conditions, "Quarantined")?.reason === "DivergedFromBackup");
    expect(condition(found.status?.conditions, "Quarantined")?.message).toMatch(/there is data on it: \/dev\/nvme0n1 with gpt/);
    expect([count("facts"), count("wipe"), server.on]).toEqual([1, 0, false]);
  });
});

describe("known from a backup alone, and in use", () => {
  async function restored(hostKey: string): Promise<void> {
    await declare();
    await claim();
    const { kube, log } = host;
    const status = { phase: "InUse", power: "On", address: "127.0.0.1", hostKey, lastTenant: "default.acme" } as const;
    await kube.replaceStatus(MACHINE, { ...(await current()), status });
    const events = eventRecorder({ kube, component: "test", clock: systemClock, log });
    const from = { id: name, takenAt: "2026-01-01T00:00:00Z" };
    const before = new Date(systemClock.now().getTime() - 60_000);
    await quarantineRestored({ kube, from, bootIntent: () => ({ boot: "disk" }), now: () => before, log, events });
    tenant.ready = true;
    tenant.heartbeat = systemClock.now().toISOString();
  }
  const isQuarantined = (machine: Machine) => isTrue(machine.status?.conditions, "Quarantined");

  test("it is believed by the host key of its installation, and not while its tenant reports from a time to come", async () => {
    await restored(machineSsh.hostKey);
    tenant.heartbeat = "2999-01-01T00:00:00Z";
    await startDaemon();
    await until("looked at", (machine) => condition(machine.status?.conditions, "Ready")?.reason === "Quarantined");
    await host.kube.patch(MACHINE, name, undefined, { metadata: { labels: { look: "again" } } });
    expect(isQuarantined(await current())).toBe(true);
    tenant.heartbeat = systemClock.now().toISOString();
    await host.kube.patch(MACHINE, name, undefined, { metadata: { labels: { look: "once-more" } } });
    const believed = await until("believed", (machine) => !isQuarantined(machine));
    expect(believed.status).toMatchObject({ phase: "InUse" });
    expect(server.boots).toEqual([]);
  });

  test("whatever its tenant says, a machine that shows another key stays with a person", async () => {
    // of its installation then; by now it was installed for somebody else
    await restored("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f");
    await startDaemon();
    await expect
      .poll(told, { timeout: 30_000 })
      .toContainEqual(expect.stringMatching(/^Warning AnotherHostKey: 127\.0\.0\.1 shows another/));
    expect(isQuarantined(await current())).toBe(true);
  });
});

test("an invalid playbook stops the daemon before any machine is touched", async () => {
  await declare();
  const dir = join(machineSsh.dir, "bad");
  harmlessPlaybooks(dir, shipped, scripts());
  writeFileSync(join(dir, "install", "partition.yaml"), "description: d\nsteps:\n  - { run: x, sudo: yes }\n");
  rmSync(join(machineSsh.dir, "playbooks"), { recursive: true, force: true });
  const { kube, log } = host;
  const controller = machineController({
    kube,
    bootPlane: server.bootPlane(),
    tenants: tenant.tenants(),
    connectBmc: server.connectBmc,
    queue: { enqueue: async () => {} },
    playbooksDir: dir,
    dataDir: machineSsh.dir,
    clock: systemClock,
    random: (bytes) => Buffer.alloc(bytes),
    log,
    events: eventRecorder({ kube, component: "test", clock: systemClock, log }),
  });
  await expect(controller.start()).rejects.toMatchObject({ code: "IRW_PLAYBOOK_INVALID" });
  expect((await current()).status?.phase).toBeUndefined();
});

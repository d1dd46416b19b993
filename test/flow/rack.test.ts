import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { checked } from "../../src/rack/config.ts";
import { namespaceOf, type Rack, type RackStatus, rackDown, rackPower, rackStatus, rackUp } from "../../src/rack/index.ts";
import { rackPaths } from "../../src/rack/paths.ts";
import { identify, isAlive, type ProcessId } from "../../src/rack/process.ts";

/** One BIOS server without a system, with two GPUs, in a network namespace of its own; the real chassis, QEMU and BMC. */
const ovmf = { code: "/usr/share/OVMF/OVMF_CODE_4M.fd", vars: "/usr/share/OVMF/OVMF_VARS_4M.fd" };
const directory = mkdtempSync(join(tmpdir(), "iw-"));
const subnet = `10.${100 + (process.pid % 100)}.0.0/16`;
const description = {
  name: `t${(process.pid % 1_000_000).toString(36)}`,
  subnet,
  directory,
  servers: [
    {
      name: "bios-1",
      firmware: "bios",
      cpus: 1,
      memoryMiB: 256,
      disks: [{ sizeGiB: 0.25 }],
      gpus: [{ id: "10de:2330" }, { id: "10de:2330" }],
      bootMAC: "52:54:00:77:00:01",
      bmc: { address: subnet.replace(".0.0/16", ".1.11") },
    },
  ],
};
const rack: Rack = checked(description, "this test");
const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
const file = join(mkdtempSync(join(tmpdir(), "iw-")), "rack.yaml");
const paths = rackPaths(directory);
const netnsBefore = mountOfNamespaces();
let status: RackStatus;
const steps: string[] = [];

beforeAll(async () => {
  writeFileSync(file, stringify(description));
  status = await rackUp(rack, { ovmf, onStep: (line) => steps.push(line) });
});

afterAll(async () => {
  await rackDown(rack);
  rmSync(directory, { recursive: true, force: true });
  rmSync(dirname(file), { recursive: true });
});

/** `ironwright rack …`, as people run it. */
function ironwrightRack(...args: readonly string[]) {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, IRONWRIGHT_ARTIFACTS: join(cache, "artifacts.json") };
  const {
    status: code,
    stdout,
    stderr,
  } = spawnSync(launcher, ["rack", ...args, "-f", file], { encoding: "utf8", env, cwd: dirname(file) });
  return { code, stdout, stderr };
}

test("up: powered off, each step told, doing it again changes nothing", async () => {
  expect(status).toMatchObject({ up: true, namespace: namespaceOf(rack), servers: [{ name: "bios-1", power: "Off" }] });
  expect(steps.map((line) => line.split(":")[0])).toEqual(["network", "chassis"]);
  const before = chassis();
  expect(await rackUp(rack, { ovmf, onStep: (line) => steps.push(line) })).toEqual(status);
  const { code, stdout, stderr } = ironwrightRack("up");
  expect([code, stdout.trim().split("\n").length, stderr]).toEqual([0, 2, ""]);
  expect(stdout).toMatch(/^SERVER +POWER .*\nbios-1 +Off +bios +/);
  expect(chassis()).toEqual(before);
  expect(steps).toHaveLength(2);
  expect(JSON.parse(ironwrightRack("status", "-o", "json").stdout)).toEqual(status);
});

test("the disk takes no more space than is written to it", () => {
  const disk = statSync(status.servers[0]?.disks[0] ?? "");
  expect([disk.size, disk.blocks]).toEqual([256 * 1_024 * 1_024, 0]);
});

test("what is in the way is refused by name, and nothing of it is touched", async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), "iw-"));
  try {
    const twin = checked({ ...description, directory: elsewhere }, "twin");
    await expect(rackUp(twin, { ovmf })).rejects.toMatchObject({
      code: "IRW_RACK_CONFLICT",
      message: expect.stringContaining(namespaceOf(rack)),
    });
    const neighbour = checked({ ...description, directory: elsewhere, name: `u${rack.name.slice(1)}` }, "neighbour");
    await expect(rackUp(neighbour, { ovmf })).rejects.toMatchObject({
      code: "IRW_RACK_CONFLICT",
      message: expect.stringContaining(subnet),
    });
    expect(readdirSync(elsewhere)).toEqual([]);
    await rackDown(twin);
    expect((await rackStatus(rack)).up).toBe(true);
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }
});

test("switched on by Redfish it tries the network first; its firmware sees two H100s behind a switch", async () => {
  expect(await bmc("network-boot")).toEqual({ power: "On", serial: status.servers[0]?.serial });
  expect((await rackStatus(rack)).servers[0]?.power).toBe("On");
  const firmware = () => readFileSync(paths.server("bios-1").firmwareLog, "utf8");
  await until(() => firmware().includes("Booting from ROM"));
  expect(firmware().match(/init bdf=0[34]:00\.0 id=10de:2330/g)).toHaveLength(2);
  expect(firmware()).toContain("id=104c:8232");
  await until(() => readFileSync(paths.server("bios-1").consoleLog, "latin1").includes("iPXE"));
});

test("its QEMU dies with a chassis that is killed, and comes back with the next", async () => {
  const [before, qemu] = [chassis(), qemuOf("bios-1")];
  process.kill(before.pid, "SIGKILL");
  await until(() => !isAlive(qemu) && !isAlive(before));
  expect(await rackStatus(rack)).toMatchObject({
    up: false,
    servers: [{ power: "Off", certificateSha256: status.servers[0]?.certificateSha256 }],
  });
  await expect(rackPower(rack, "bios-1", "on")).rejects.toMatchObject({ code: "IRW_RACK_DOWN" });
  await rackUp(rack, { ovmf });
  await until(async () => (await rackStatus(rack)).servers[0]?.power === "On");
  expect(isAlive(chassis())).toBe(true);
});

test("a QEMU that crashes leaves a server that is off, with the reason", async () => {
  process.kill(qemuOf("bios-1").pid, "SIGKILL");
  await until(async () => (await rackStatus(rack)).servers[0]?.power === "Off");
  expect((await rackStatus(rack)).servers[0]?.failure).toBeTruthy();
});

test("the power button", async () => {
  expect((await rackPower(rack, "bios-1", "on")).servers[0]).toMatchObject({ power: "On" });
  expect((await rackStatus(rack)).servers[0]?.failure).toBeUndefined();
  expect((await rackPower(rack, "bios-1", "reset")).servers[0]?.power).toBe("On");
  expect((await rackPower(rack, "bios-1", "off")).servers[0]?.power).toBe("Off");
  await expect(rackPower(rack, "bios-9", "explode")).rejects.toMatchObject({ code: "IRW_RESOURCE_INVALID" });
  expect(ironwrightRack("power", "bios-1", "on")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(isAlive(qemuOf("bios-1"))).toBe(true);
  expect(ironwrightRack("status").stdout).toMatch(/^bios-1 +On /m);
  expect(ironwrightRack("power", "bios-1", "explode")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/IRW_RESOURCE_INVALID[\s\S]*explode.*none of on, off, reset/),
  });
});

test("down leaves nothing: no process, namespace, interface, mount or file", async () => {
  await rackPower(rack, "bios-1", "on");
  const processes = [chassis(), qemuOf("bios-1")];
  const { code, stdout } = ironwrightRack("down");
  expect([code, stdout]).toEqual([0, expect.stringMatching(/chassis: ended\nnetwork: .* removed\nremoved: /)]);
  expect(processes.filter(isAlive)).toEqual([]);
  expect(existsSync(`/run/netns/${namespaceOf(rack)}`)).toBe(false);
  expect(spawnSync("ip", ["-brief", "link"], { encoding: "utf8" }).stdout).not.toContain(`iw-${rack.name}`);
  expect(existsSync(directory)).toBe(false);
  if (!netnsBefore) expect(mountOfNamespaces()).toBe(false);
  await rackDown(rack);
  expect(ironwrightRack("down")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(ironwrightRack("status")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^bios-1 +Off /m) });
});

/** Runs the real client where the BMC can be reached: inside the rack's namespace. */
async function bmc(action: string): Promise<unknown> {
  const program = fileURLToPath(new URL("./rack-client.ts", import.meta.url));
  const server = status.servers[0];
  const child = spawn(
    "ip",
    ["netns", "exec", namespaceOf(rack), process.execPath, program, `redfish://${server?.bmc}`, server?.certificateSha256 ?? "", action],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  for await (const part of child.stdout) text += part;
  return JSON.parse(text);
}

function chassis(): ProcessId {
  return JSON.parse(readFileSync(paths.record, "utf8")).chassis;
}

function qemuOf(server: string): ProcessId {
  const id: ProcessId = JSON.parse(readFileSync(paths.server(server).process, "utf8"));
  return identify(id.pid) ?? id;
}

function mountOfNamespaces(): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8").includes(" /run/netns ");
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("not within 60 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

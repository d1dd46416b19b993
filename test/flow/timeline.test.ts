import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askDaemon, type LeasesAnswer, type TimelineAnswer } from "../../src/api/index.ts";
import { peers } from "../bench/peers.ts";
import { createMatrixWorld, type MatrixWorld, SERVER, type TestMachine } from "./boot-matrix-world.ts";

const run = promisify(execFile);
const ironwright = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));

let world: MatrixWorld;
let machine: TestMachine;
let client: string;
let address: string;

beforeAll(async () => {
  world = await createMatrixWorld("tl", await peers([]));
  machine = await world.machine("gpu-07");
  client = world.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: machine.mac }]);
});
afterAll(() => world.end());

/** The command line as people run it, on the daemon's host. */
function command(...args: string[]): Promise<string> {
  const child = spawn(ironwright, ["--set", `dataDir=${world.directory}`, ...args], {
    cwd: world.directory,
    env: { ...process.env, IRONWRIGHT_CONFIG: undefined },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (part) => (out += part));
  return new Promise((resolve, reject) =>
    child.once("close", (status) => (status === 0 ? resolve(out) : reject(new Error(`status ${status}`)))),
  );
}

const ask = <T>(path: string) => askDaemon<T>(join(world.directory, "run", "daemon.sock"), path);

/** As firmware: a lease, the boot program by TFTP. */
async function firmware(): Promise<void> {
  ({ address } = await world.clients.udhcpc.lease(client, { vendorClass: "PXEClient:Arch:00007:UNDI:003001", arch: 7 }));
  await world.network.run(client, ["ip", "addr", "replace", `${address}/24`, "dev", "eth0"]);
  await world.network.run(client, ["busybox", "tftp", "-g", "-r", "snponly.efi", "-l", join(world.directory, "snponly.efi"), SERVER]);
}

const fetched = (what: string, ...options: string[]) =>
  world.network.run(client, ["curl", "-sSf", "-o", "/dev/null", ...options, `${machine.url}/${what}`]);

test("firmware that goes no further than its boot program is told so, with the reason", async () => {
  await firmware();
  const out = await command("timeline", "machine", "gpu-07");
  expect(out).toMatch(/^Machine: {3}gpu-07\nLast seen: fetched snponly\.efi \d+ s ago and never came back: Secure Boot refuses it/);
  expect(out).toMatch(/^Boot 1: under way, begun \d+s ago as UEFI PXE, [\d.]+s so far$/m);
  expect(out).toMatch(/^ {2}program {3}[\d.]+s/m);
});

test("a boot to the installer's hello is one attempt, each step with its time, the longest marked", async () => {
  await firmware();
  await fetched("script.ipxe");
  await fetched("kernel");
  await fetched("initrd");
  const hello = { hostKey: "ssh-ed25519 AAAAC3NzaC1", address, mac: machine.mac, uuid: "u", serial: "s", firmware: "uefi" };
  await fetched("hello", "-X", "POST", "--data", JSON.stringify(hello));
  await world.plane.call("note", "gpu-07", "inspected", "inspected: 1 disk", "Dell Inc. PowerEdge XE9680");

  const answer = await ask<TimelineAnswer>("/v1/machines/gpu-07/timeline");
  expect(answer.model).toBe("Dell Inc. PowerEdge XE9680");
  expect(answer.attempts.map(({ number, end }) => [number, end])).toEqual([
    [1, "stopped"],
    [2, "inspected"],
  ]);
  expect(answer.attempts[0]?.why).toMatch(/^fetched snponly\.efi \d+ s ago and never came back/);
  expect(answer.attempts[1]?.steps.map(({ step }) => step)).toEqual([
    "address",
    "program",
    "script",
    "kernel",
    "initrd",
    "hello",
    "inspected",
  ]);
  const out = await command("timeline", "machine", "gpu-07", "-o", "wide");
  expect(out).toMatch(/^Model: {5}Dell Inc\. PowerEdge XE9680, 1 boot on record$/m);
  expect(out.match(/<- longest/g)).toHaveLength(2);
  expect(JSON.parse(await command("timeline", "machine", "gpu-07", "-o", "json"))).toMatchObject({ machine: "gpu-07" });
});

test("its lease is listed with its machine, and metrics count what happened", async () => {
  const { items } = await ask<LeasesAnswer>("/v1/leases");
  expect(items).toEqual([expect.objectContaining({ address, mac: machine.mac, machine: "gpu-07", state: "bound" })]);
  expect(await command("get", "leases")).toMatch(new RegExp(`^ADDRESS .*\\n${address} +${machine.mac} +gpu-07 +bound +in 2d$`, "m"));
  await world.clients.udhcpc.lease(world.network.plug("s", [{ name: "eth0", bridge: "prov0" }]));
  expect(await command("get", "refusals", "-o", "wide")).toMatch(/^boot: unknown machine +1 +\d+s +.*client=a DHCP client/m);
  const { stdout } = await run("curl", ["-sSf", "--unix-socket", join(world.directory, "run", "daemon.sock"), "http://daemon/metrics"]);
  for (const [metric, least] of [
    ['ironwright_dhcp_received_total{interface="prov0",type="discover"}', 3],
    ['ironwright_dhcp_sent_total{interface="prov0",type="ack"}', 3],
    ['ironwright_dhcp_answer_seconds_count{interface="prov0"}', 6],
    ["ironwright_dhcp_lease_commit_size_count", 1],
    ['ironwright_dhcp_leases{interface="prov0",state="leased"}', 2],
    ['ironwright_dhcp_pool_addresses{interface="prov0"}', 90],
    ['ironwright_tftp_transfers_total{interface="prov0",end="done"}', 2],
    ['ironwright_boot_http_responses_total{interface="prov0",asset="kernel",code="200"}', 1],
    ['ironwright_boot_attempts_total{end="inspected"}', 1],
    ['ironwright_boot_refused_total{reason="boot: unknown machine"}', 1],
  ] as const) {
    const line = stdout.split("\n").find((one) => one.startsWith(`${metric} `)) ?? `${metric} missing`;
    expect(Number(line.slice(metric.length + 1)), line).toBeGreaterThanOrEqual(least);
  }
});

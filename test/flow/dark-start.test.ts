import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { ApiProblem, askDaemon, type LeasesAnswer, type TimelineAnswer } from "../../src/api/index.ts";
import type { BootInterface, BootRecord } from "../../src/boot/index.ts";
import { connectSupervisor } from "../../src/supervise/index.ts";
import { dhcpClients } from "./boot-clients.ts";
import { createTestNetwork, ended, type TestNetwork } from "./boot-network.ts";
import { artifacts, startBootPlane } from "./boot-process.ts";

/**
 * The whole daemon, as people start it, where nothing it leans on answers: neither the host control plane nor Redis. What it knows
 * of a machine is on its disk, of an earlier run.
 */

const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));
const index = join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json");
const WAIT = { timeout: 60_000, interval: 100 };
const SERVER = "10.77.0.1";
const MAC = "52:54:00:77:09:01";
const nonce = "nonce-of-a-machine-in-the-dark-0000";
const record: BootRecord = {
  machine: "dark",
  macs: [MAC],
  hostname: "dark",
  intent: { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: ["console=ttyS0"] },
};
const at: BootInterface = {
  name: "prov0",
  address: `${SERVER}/24`,
  pool: { from: "10.77.0.10", to: "10.77.0.99" },
  mode: "reservation",
  routerAdvertisements: true,
};

let network: TestNetwork;
let directory: string;
let dataDir: string;
let client: string;
const daemons = new Set<ChildProcess>();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "iw-dark-"));
  dataDir = join(directory, "data");
  network = createTestNetwork("dark");
  network.bridge("prov0", at.address);
  client = network.plug("c", [{ name: "eth0", bridge: "prov0", mac: MAC }]);

  const plane = await startBootPlane(
    network.namespace,
    { interfaces: [at], httpPort: 8080, dataDir },
    { pxeDir: artifacts.pxe, ...artifacts.installer },
  );
  await plane.call("remember", record);
  await plane.end();

  // a control plane that nobody runs, and a Redis likewise: their ports refuse
  const cluster = { name: "c", cluster: { server: "https://127.0.0.1:9" } };
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    clusters: [cluster],
    users: [{ name: "c", user: { token: "t" } }],
    contexts: [{ name: "c", context: { cluster: "c", user: "c" } }],
  };
  writeFileSync(join(directory, "kubeconfig"), stringify(kubeconfig));
  const config = {
    dataDir,
    artifacts: index,
    boot: { interfaces: [at] },
    host: { kubeconfig: join(directory, "kubeconfig") },
    redis: { url: "redis://127.0.0.1:9" },
  };
  writeFileSync(join(directory, "ironwright.yaml"), stringify(config));
});

afterAll(async () => {
  for (const daemon of daemons) await ended(daemon);
  await connectSupervisor(join(dataDir, "run", "supervisor.sock"))
    .shutdown()
    .catch(() => {}); // not there when no daemon came up
  await network?.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** `ironwright serve` in the network's namespace; `log` is what it has written so far. */
function serve(...before: readonly string[]): { daemon: ChildProcess; log(): string } {
  const command = [...before, launcher, "--config", join(directory, "ironwright.yaml"), "serve"];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  const daemon = spawn("ip", ["netns", "exec", network.namespace, ...command], { stdio: ["ignore", "pipe", "pipe"], cwd: directory, env });
  daemons.add(daemon);
  daemon.once("exit", () => daemons.delete(daemon));
  let text = "";
  for (const stream of [daemon.stdout, daemon.stderr]) stream?.on("data", (part) => (text += part));
  return { daemon, log: () => text };
}

const ask = <T>(path: string) => askDaemon<T>(join(dataDir, "run", "daemon.sock"), path);

/** As firmware: a lease, the boot program by TFTP, then what the boot program fetches. Returns its address. */
async function boot(): Promise<string> {
  const { udhcpc } = dhcpClients(network, undefined, directory);
  const lease = await udhcpc.lease(client, { vendorClass: "PXEClient:Arch:00007:UNDI:003001", arch: 7 });
  expect(lease).toMatchObject({ bootFile: "snponly.efi", nextServer: SERVER, hostname: "dark" });
  await network.run(client, ["ip", "addr", "replace", `${lease.address}/24`, "dev", "eth0"]);
  const local = join(directory, "program");
  await network.run(client, ["busybox", "tftp", "-g", "-r", lease.bootFile, "-l", local, SERVER]);
  expect(readFileSync(local).equals(readFileSync(join(artifacts.pxe, "snponly.efi")))).toBe(true);
  const url = `http://${SERVER}:8080/boot/${nonce}`;
  expect(await network.run(client, ["curl", "-sSf", `${url}/script.ipxe`])).toContain(`${url}/kernel`);
  await network.run(client, ["curl", "-sSf", "-o", local, `${url}/kernel`]);
  expect(readFileSync(local).equals(readFileSync(artifacts.installer.kernel))).toBe(true);
  return lease.address;
}

let address: string;

test("a daemon without its control plane and Redis boots the machine it knows, and answers at its socket", async () => {
  const { daemon, log } = serve();
  await vi.waitFor(() => ask("/v1/leases"), WAIT);
  address = await boot();

  const timeline = await ask<TimelineAnswer>("/v1/machines/dark/timeline");
  expect(timeline.attempts.at(-1)?.steps.map(({ step }) => step)).toEqual(["address", "program", "script", "kernel"]);
  const { items } = await ask<LeasesAnswer>("/v1/leases");
  expect(items).toMatchObject([{ address, mac: MAC, machine: "dark", state: "bound" }]);
  expect(await ask<LeasesAnswer>("/v1/leases?from=1")).toEqual({ items: [] });
  // what needs the control plane says that it is not there yet
  const explained = ask("/v1/explain/pod?tenant=default.acme&pod=default/a");
  await expect(explained).rejects.toSatisfy((error) => error instanceof ApiProblem && error.code === "IRW_API_STARTING");
  await vi.waitFor(() => expect(log()).toContain("the host control plane does not answer yet"), WAIT);
  expect(daemon.exitCode).toBeNull();

  daemon.kill("SIGKILL");
  await once(daemon, "exit");
});

test("killed and started again it gives the same address, and nobody advertises on an interface it no longer names", async () => {
  const supervisor = connectSupervisor(join(dataDir, "run", "supervisor.sock"));
  const children = async () => (await supervisor.list()).map(({ name }) => name);
  expect(await children()).toContain("advertise-prov0");
  await supervisor.ensure({ name: "advertise-gone0", command: ["/bin/sleep", "1000"], logFile: join(dataDir, "logs", "gone0.log") });

  const { daemon } = serve();
  await vi.waitFor(() => ask("/v1/leases"), WAIT);
  expect(await boot()).toBe(address);
  await vi.waitFor(async () => expect(await children()).toEqual(["advertise-prov0"]), WAIT);

  // it still waits for its control plane: a stop is a stop all the same
  daemon.kill("SIGTERM");
  expect(await once(daemon, "exit")).toEqual([0, null]);
  expect(existsSync(join(dataDir, "run", "daemon.sock"))).toBe(false);
});

const DHCP = ["--udp", "dhcp@prov0=0.0.0.0:67@prov0"];
test.each([
  ["dhcp@prov0: it was not handed over", ["--udp", `other=${SERVER}:6969`]],
  ["dhcp@prov0: it is bound to no interface .* BindToDevice=prov0", ["--udp", "dhcp@prov0=0.0.0.0:67"]],
  ["tftp@prov0: it was not handed over", DHCP],
  // the first ones are taken over by then
  ["http@prov0: ", [...DHCP, "--udp", `tftp@prov0=${SERVER}:69@prov0`, "--udp", `http@prov0=${SERVER}:8080@prov0`]],
])("a daemon that cannot take over a socket ends, and says so: %s", async (says, handed) => {
  const { daemon, log } = serve(artifacts.native, "sockets", ...handed, "--");
  expect(await once(daemon, "exit")).toEqual([1, null]);
  expect(log()).toMatch(new RegExp(`IRW_BOOT_SOCKET: .*${says}`));
});

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askDaemon, type LeasesAnswer } from "../../src/api/index.ts";
import type { BootInterface } from "../../src/boot/index.ts";
import { dhcpClients } from "./boot-clients.ts";
import { createTestNetwork, ended, type TestNetwork } from "./boot-network.ts";
import { artifacts, type BootProcess, startBootPlane } from "./boot-process.ts";

/** Two networks that are served and one that nobody named, all on one host, as three cables in one machine. */

const listener = fileURLToPath(new URL("./dhcp-listener.ts", import.meta.url));
const served: readonly BootInterface[] = ["prov0", "prov1"].map((name, at) => ({
  name,
  address: `10.77.${at}.1/24`,
  pool: { from: `10.77.${at}.10`, to: `10.77.${at}.20` },
  mode: "reservation",
  routerAdvertisements: false,
}));

let directory: string;
let network: TestNetwork;
let plane: BootProcess;
const clients: string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-interfaces-"));
  network = createTestNetwork("ifs");
  for (const [at, name] of ["prov0", "prov1", "office0"].entries()) {
    network.bridge(name, `10.77.${at}.1/24`);
    clients.push(network.plug(`c${at}-`, [{ name: "eth0", bridge: name, mac: `52:54:00:77:0a:0${at}` }]));
  }
  const assets = { pxeDir: artifacts.pxe, ...artifacts.installer };
  plane = await startBootPlane(network.namespace, { interfaces: served, httpPort: 8080, dataDir: directory }, assets);
});

afterAll(async () => {
  await plane?.end();
  await network?.remove();
  rmSync(directory, { recursive: true });
});

test("each network has leases of its own pool, and the list of leases has both", async () => {
  const { udhcpc } = dhcpClients(network, undefined, directory);
  for (const [at, name] of ["prov0", "prov1"].entries()) {
    const { address } = await udhcpc.lease(clients[at] ?? "");
    expect(address, name).toMatch(new RegExp(`^10\\.77\\.${at}\\.1\\d$`));
  }
  const { items } = await askDaemon<LeasesAnswer>(join(directory, "run", "daemon.sock"), "/v1/leases");
  expect(items.map((lease) => [lease.interface, lease.mac, lease.state]).sort()).toEqual([
    ["prov0", "52:54:00:77:0a:00", "bound"],
    ["prov1", "52:54:00:77:0a:01", "bound"],
  ]);
});

test("a broadcast gets exactly one answer, from its own network's server; on a network nobody named it gets none", async () => {
  const listeners = await Promise.all(clients.map((client) => listen(client)));
  try {
    // the answer to the last one is behind all answers to those before: what was answered twice has come by then
    for (const [at, one] of listeners.entries()) for (let xid = 1; xid <= 20; xid++) one.ask(xid, at);
    for (const [at, one] of listeners.slice(0, 2).entries()) {
      await expect.poll(() => one.answers.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(20);
      expect(new Set(one.answers.map(({ server }) => server))).toEqual(new Set([`10.77.${at}.1`]));
    }
    // and both interfaces have answered another question since
    for (const one of listeners.slice(0, 2)) {
      one.ask(99, 0);
      await expect.poll(() => one.answers.some(({ xid }) => xid === 99), { timeout: 10_000 }).toBe(true);
      const times = Map.groupBy(one.answers, ({ xid }) => xid);
      expect([...times].map(([xid, all]) => [xid, all.length])).toEqual([...Array.from({ length: 20 }, (_, at) => [at + 1, 1]), [99, 1]]);
    }
    expect(listeners[2]?.answers).toEqual([]);
    // its questions did reach this host
    expect(Number(await network.run(network.namespace, ["cat", "/sys/class/net/office0/statistics/rx_packets"]))).toBeGreaterThan(20);
  } finally {
    await Promise.all(listeners.map(({ child }) => ended(child)));
  }
});

interface Listener {
  readonly child: ChildProcess;
  readonly answers: { readonly xid: number; readonly server: string }[];
  ask(xid: number, seed: number): void;
}

async function listen(namespace: string): Promise<Listener> {
  // without an address it needs a way for its broadcasts
  network.sync(namespace, ["ip", "route", "replace", "default", "dev", "eth0"]);
  const child = spawn("ip", ["netns", "exec", namespace, process.execPath, listener], { stdio: ["pipe", "pipe", "inherit"] });
  const answers: Listener["answers"] = [];
  await new Promise<void>((resolve, reject) => {
    child.once("exit", () => reject(new Error("the listener ended")));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.ready) resolve();
      else answers.push(said);
    });
  });
  return { child, answers, ask: (xid, seed) => void child.stdin.write(`${JSON.stringify({ xid, seed })}\n`) };
}

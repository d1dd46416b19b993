import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LeasesAnswer } from "../../src/api/index.ts";
import { type Peers, peers } from "../bench/peers.ts";
import { createMatrixWorld, type MatrixWorld, SERVER, type TestMachine } from "./boot-matrix-world.ts";
import { ended } from "./boot-network.ts";

const ironwright = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));

interface Told {
  readonly pid: number | undefined;
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command line as people run it; with the world's data directory. */
function told(world: MatrixWorld, ...args: string[]): Promise<Told> {
  const child = spawn(ironwright, ["--set", `dataDir=${world.directory}`, ...args], {
    cwd: world.directory,
    env: { ...process.env, IRONWRIGHT_CONFIG: undefined },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (part) => (out += part));
  child.stderr.on("data", (part) => (err += part));
  return new Promise((resolve) => child.once("close", (status) => resolve({ pid: child.pid, status, out, err })));
}

/** Quick answers are all there are on these networks. */
function doctor(world: MatrixWorld, namespace: string, ...args: string[]): Promise<Told> {
  return told(world, "doctor", "boot", "--netns", namespace, "--wait", "1", ...args);
}

let foreign: Peers;
beforeAll(async () => {
  foreign = await peers(["dnsmasq-base"]);
}, 300_000);

/** Another DHCP server on the network: dnsmasq. */
function dnsmasq(world: MatrixWorld, ...options: string[]) {
  const there = world.network.plug("dm", [{ name: "eth0", bridge: "prov0", address: "10.77.0.5/24" }]);
  const command = [
    foreign.program("dnsmasq"),
    "--no-daemon",
    "--port=0",
    "--user=root",
    "--conf-file=/dev/null",
    "--interface=eth0",
    "--no-ping",
  ];
  const leases = `--dhcp-leasefile=${join(world.directory, "dnsmasq.leases")}`;
  const child = world.network.start(there, [...command, leases, "--pid-file", ...options], foreign.env);
  return new Promise<() => Promise<void>>((resolve, reject) => {
    let said = "";
    child.once("exit", () => reject(new Error(`dnsmasq ended: ${said}`)));
    child.stderr?.on("data", (part) => {
      said += part;
      if (/DHCP, /.test(said)) resolve(() => ended(child));
    });
  });
}

describe("on a network of ours", () => {
  let world: MatrixWorld;
  let client: string;

  beforeAll(async () => {
    world = await createMatrixWorld("da", foreign);
    client = world.network.plug("c", [{ name: "eth0", bridge: "prov0" }]);
  });
  afterAll(() => world.end());

  test.each([
    ["another host's port", () => ["eth0", client] as const, /from a NIC of its own beside eth0/],
    ["the boot plane's own bridge", () => ["prov0", world.network.namespace] as const, /from a port of its own on the bridge prov0/],
  ])("from %s all is well, and nothing of it stays", async (_, where, how) => {
    const [name, namespace] = where();
    const { pid, status, out, err } = await doctor(world, namespace, "-i", name, "-s", SERVER);
    expect(err).toMatch(/^About to send DHCP DISCOVERs on \w+ as 02:/);
    expect(err).toMatch(how);
    expect({ status, out }).toEqual({ status: 0, out: expect.stringContaining("Machines can boot here.") });
    for (const what of ["a plain DHCP client", "BIOS PXE", "UEFI PXE", "UEFI HTTP Boot", "iPXE"]) {
      expect(out).toMatch(new RegExp(`^✓ ${what}: offered 10\\.77\\.0\\.\\d+ by ${SERVER.replaceAll(".", "\\.")}`, "m"));
    }
    expect(out).toMatch(/^✓ lease of 10\.77\.0\.\d+ from 10\.77\.0\.1, released again$/m);
    expect(out).toMatch(/^✓ TFTP: \w+\.\w+ from 10\.77\.0\.1 in blocks of 1468 bytes, \d{5,} bytes$/m);
    expect(out).toMatch(/^✓ HTTP: http:\/\/10\.77\.0\.1:8080\/exit\/unknown\.ipxe \(status 200\)$/m);
    expect(readdirSync("/run/netns")).not.toContain(`iw-doctor-${pid}`);
    const leases = JSON.parse((await told(world, "get", "leases", "-o", "json")).out) as LeasesAnswer;
    expect(leases.items.filter(({ mac }) => mac.startsWith("02:"))).toEqual([]);
  });

  test("another DHCP server is named, with its address", async () => {
    const end = await dnsmasq(world, "--dhcp-range=10.77.0.150,10.77.0.160,2m", "--dhcp-boot=pxelinux.0", "--dhcp-authoritative");
    try {
      const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER);
      expect(out).toMatch(/^✗ another DHCP server: 10\.77\.0\.5 answers here too: it offers 10\.77\.0\.1[56]\d/m);
      expect(out).toMatch(/^✗ another boot server: 10\.77\.0\.5 tells machines to boot pxelinux\.0$/m);
      expect(status).toBe(1);
    } finally {
      await end();
    }
  });

  test("packets too large for a link on the way are told from a filter", async () => {
    const narrow = world.network.plug("n", [{ name: "eth0", bridge: "prov0" }]);
    await world.network.run(narrow, ["ip", "link", "set", "eth0", "mtu", "1000"]);
    const { status, out } = await doctor(world, narrow, "-i", "eth0", "-s", SERVER);
    expect(out).toMatch(/^✗ MTU: \S+ comes from 10\.77\.0\.1 in blocks of 512 bytes, and is lost in blocks of 1468/m);
    expect(status).toBe(1);
  });

  test("filtered TFTP and HTTP are each named", async () => {
    const open = [await filter(world, "udp", 69), await filter(world, "tcp", 8080)];
    try {
      const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER);
      expect(out).toMatch(/^✗ TFTP: \S+ does not come from 10\.77\.0\.1/m);
      expect(out).toMatch(/^✗ HTTP: http:\S+ does not come/m);
      expect(status).toBe(1);
    } finally {
      for (const one of open) await one();
    }
  });

  test("where nobody answers it says so", async () => {
    world.network.bridge("empty");
    const lonely = world.network.plug("l", [{ name: "eth0", bridge: "empty" }]);
    const { status, out } = await doctor(world, lonely, "-i", "eth0");
    expect(out).toMatch(/^✗ DHCP: nobody answers DHCP here/m);
    expect(status).toBe(1);
    expect((await doctor(world, lonely, "-i", "eth9")).err).toMatch(/^IRW_DOCTOR_INTERFACE: there is no interface eth9/);
  });
});

describe("beside the site's own DHCP server", () => {
  let world: MatrixWorld;
  let end: () => Promise<void>;
  let client: string;
  let known: TestMachine;

  beforeAll(async () => {
    world = await createMatrixWorld("dp", foreign, { mode: "proxy", pool: undefined });
    end = await dnsmasq(world, "--dhcp-range=10.77.0.150,10.77.0.160,2m");
    known = await world.machine("known");
    client = world.network.plug("c", [{ name: "eth0", bridge: "prov0" }]);
  });
  afterAll(async () => {
    await end();
    await world.end();
  });

  test("a ProxyDHCP that is silent to a machine it does not know is not taken for well", async () => {
    const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER);
    expect(out).toMatch(/^✗ boot plane: 10\.77\.0\.1 answers none of them, while 10\.77\.0\.5 does\n.*--mac$/m);
    expect(status).toBe(1);
  });

  test("one that answers on port 4011 is well", async () => {
    const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER, "--mac", known.mac);
    expect({ status, out }).toEqual({ status: 0, out: expect.stringContaining("✓ ProxyDHCP on UDP 4011 of 10.77.0.1") });
    expect(out).toMatch(/^✓ addresses come from 10\.77\.0\.5, boot programs from 10\.77\.0\.1 \(ProxyDHCP\)$/m);
  });

  test("one whose port 4011 is filtered is not", async () => {
    await filter(world, "udp", 4011);
    const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER, "--mac", known.mac);
    expect(out).toMatch(/^✗ ProxyDHCP: 10\.77\.0\.1 offers to boot machines and does not answer on UDP 4011/m);
    expect(status).toBe(1);
  });
});

test("on a network behind a router that does not relay, the missing relay is what is wrong", async () => {
  const subnet = { network: "10.78.0.0/24", pool: { from: "10.78.0.10", to: "10.78.0.90" } };
  const world = await createMatrixWorld("dr", foreign, { subnets: [subnet] });
  try {
    const { network } = world;
    network.bridge("far");
    const router = network.plug("r", [
      { name: "eth0", bridge: "prov0", address: "10.77.0.254/24" },
      { name: "eth1", bridge: "far", address: "10.78.0.1/24" },
    ]);
    await network.run(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    await network.run(network.namespace, ["ip", "route", "add", "10.78.0.0/24", "via", "10.77.0.254"]);
    const client = network.plug("c", [{ name: "eth0", bridge: "far", address: "10.78.0.7/24" }]);
    await network.run(client, ["ip", "route", "add", "default", "via", "10.78.0.1"]);
    const { status, out } = await doctor(world, client, "-i", "eth0", "-s", SERVER);
    expect(out).toMatch(
      /^✗ relay: nobody answers broadcasts here, but 10\.77\.0\.1 answers when it is asked through a relay \(giaddr 10\.78\.0\.7\)$/m,
    );
    expect(out).toContain("ip helper-address) to 10.77.0.1");
    expect(status).toBe(1);
  } finally {
    await world.end();
  }
});

/** What a firewall on the boot plane's host does to a port: nothing comes of it. Returns how to open it. */
async function filter(world: MatrixWorld, protocol: "udp" | "tcp", port: number): Promise<() => Promise<void>> {
  const rule = (...what: string[]) => world.network.run(world.network.namespace, ["ip", "rule", ...what]);
  // routes to the host itself come first by default; a rule before them is only possible once they moved
  if (!(await rule("list")).includes("32000:")) {
    await rule("add", "pref", "32000", "lookup", "local");
    await rule("del", "pref", "0");
  }
  const what = ["pref", String(port), "ipproto", protocol, "dport", String(port), "blackhole"];
  await rule("add", ...what);
  return async () => void (await rule("del", ...what));
}

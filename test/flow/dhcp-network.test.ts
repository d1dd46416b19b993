import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BootInterface, type BootRecord, netbootingFile } from "../../src/boot/index.ts";
import { dhcpClients } from "./boot-clients.ts";
import { createTestNetwork, type TestNetwork } from "./boot-network.ts";
import { artifacts, type BootProcess, startBootPlane } from "./boot-process.ts";

const MAC = "52:54:00:77:05:01";
const record: BootRecord = {
  machine: "probed-1",
  macs: [MAC],
  hostname: "probed-1",
  intent: { boot: "installer", nonce: "0123456789abcdefghijkl", authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: [] },
};
const at: BootInterface = {
  name: "prov0",
  address: "10.77.5.1/24",
  pool: { from: "10.77.5.10", to: "10.77.5.12" },
  mode: "reservation",
  conflictProbe: true,
  routerAdvertisements: true,
};

let directory: string;
let network: TestNetwork;
let plane: BootProcess;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-dhcp-"));
  network = createTestNetwork("dhcpnet");
  network.bridge("prov0", "10.77.5.1/24");
  const assets = { pxeDir: artifacts.pxe, ...artifacts.installer };
  plane = await startBootPlane(network.namespace, { interfaces: [at], httpPort: 8080, dataDir: directory }, assets);
});

afterAll(async () => {
  await plane?.end();
  await network?.remove();
  rmSync(directory, { recursive: true });
});

describe("router advertisements", () => {
  test("go to a machine that boots from here, and to nobody else", async () => {
    network.start(network.namespace, [artifacts.native, "advertise", "--interface", "prov0", "--allow", netbootingFile(directory)]);
    const stranger = network.plug("alien", [{ name: "eth0", bridge: "prov0" }]);
    const machine = network.plug("mach", [{ name: "eth0", bridge: "prov0", mac: MAC }]);
    await plane.call("remember", { ...record, intent: { boot: "disk" } });
    await dhcpClients(network, undefined, directory).udhcpc.lease(machine, { vendorClass: "PXEClient:Arch:00007:UNDI:003001", arch: 7 });
    await until(() => existsSync(netbootingFile(directory)) && readFileSync(netbootingFile(directory), "utf8").includes(MAC));

    await Promise.all([stranger, machine].map((one) => solicit(one)));
    await until(async () => (await counted(machine, "Icmp6InRouterAdvertisements")) > 0);
    await until(async () => (await counted(stranger, "Icmp6OutRouterSolicits")) > 1);
    expect(await counted(stranger, "Icmp6InRouterAdvertisements")).toBe(0);
    // it is no router and gives no address
    expect(await network.run(machine, ["ip", "-6", "route", "show", "default"])).toBe("");
    expect(await network.run(machine, ["ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"])).toBe("");
  });
});

describe("an address that somebody has without asking for it", () => {
  test("is found out by ARP, and nobody is given it", async () => {
    const taken = String(await plane.call("addressOf", "probed-1"));
    const [squatted = "", free = ""] = ["10.77.5.10", "10.77.5.11", "10.77.5.12"].filter((one) => one !== taken);
    network.plug("squat", [{ name: "eth0", bridge: "prov0", address: `${squatted}/24` }]);
    const { udhcpc } = dhcpClients(network, undefined, directory);
    expect((await udhcpc.lease(network.plug("new", [{ name: "eth0", bridge: "prov0" }]))).address).toBe(free);
    await expect(udhcpc.lease(network.plug("late", [{ name: "eth0", bridge: "prov0" }]))).rejects.toThrow();
    const refused = (await plane.call("refused")) as Record<string, number>;
    expect(refused["dhcp: the address is used by somebody else"]).toBe(1);
  });
});

/** Makes the kernel ask for routers, as firmware does when its link comes up. */
async function solicit(namespace: string): Promise<void> {
  const set = (key: string, value: string) => network.run(namespace, ["sh", "-c", `echo ${value} > /proc/sys/net/ipv6/conf/eth0/${key}`]);
  await network.run(namespace, ["ip", "link", "set", "eth0", "down"]);
  await set("accept_ra", "2");
  await set("router_solicitation_delay", "0");
  await set("router_solicitation_interval", "1");
  await network.run(namespace, ["ip", "link", "set", "eth0", "up"]);
}

async function counted(namespace: string, counter: string): Promise<number> {
  const text = await network.run(namespace, ["cat", "/proc/net/snmp6"]);
  return Number(new RegExp(`^${counter}\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    if (await holds()) return;
    if (Date.now() > deadline) throw new Error("it did not come to be");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

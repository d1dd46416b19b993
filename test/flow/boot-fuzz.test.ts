import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fuzzBoot } from "../fuzz/boot.ts";
import { createMatrixWorld, type MatrixWorld, SERVER, type TestMachine } from "./boot-matrix-world.ts";

const sender = fileURLToPath(new URL("../fuzz/sender.ts", import.meta.url));

/** Another seed each time: what breaks is printed as bytes, and then becomes a test of its own. */
const seed = Math.floor(Math.random() * 0x1_0000_0000);

test("a hundred thousand bent datagrams through codecs and answers", () => {
  const { inputs, understood, answered, refused } = fuzzBoot({ seed, inputs: 100_000 });
  expect(inputs).toBe(100_000);
  // most are understood and many answered, else this would test nothing
  expect(understood).toBeGreaterThan(50_000);
  expect(answered).toBeGreaterThan(8_000);
  expect(Object.keys(refused).length).toBeGreaterThan(15);
});

test("the same seed is the same work", () => {
  expect(fuzzBoot({ seed, inputs: 5000 })).toEqual(fuzzBoot({ seed, inputs: 5000 }));
});

/** On live sockets, with the kernel and a client between. */
let world: MatrixWorld;
let known: TestMachine;
let client: string;
let stranger: string;

beforeAll(async () => {
  world = await createMatrixWorld("fz");
  known = await world.machine("known");
  client = world.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: known.mac }]);
  stranger = world.network.plug("s", [{ name: "eth0", bridge: "prov0", address: "10.77.0.240/24" }]);
});
afterAll(() => world.end());

test("bent datagrams on the live sockets: no crash, no leak, and the next good client is served as before", async () => {
  const before = await served();
  await storm(10_000, seed);
  const settled = await footprint();
  expect(await served()).toEqual(before);
  await storm(30_000, seed + 1);
  expect(await served()).toEqual(before);

  // transfers to nobody end by themselves; then as many descriptors are open as before
  await expect
    .poll(async () => (await footprint()).descriptors, { timeout: 60_000, interval: 500 })
    .toBeLessThanOrEqual(settled.descriptors);
  const after = await footprint();
  expect(after.residentMiB - settled.residentMiB, "grown by so many MiB").toBeLessThan(60);
  expect(Object.keys((await world.plane.call("refused")) as object).length).toBeGreaterThan(10);
});

/** What the known machine gets: its address and its boot program, by DHCP and TFTP. */
async function served() {
  const lease = await world.clients.udhcpc.lease(client, { vendorClass: "PXEClient:Arch:00007:UNDI:003001", arch: 7 });
  expect(lease.bootFile).toBe("snponly.efi");
  await world.network.run(client, ["ip", "addr", "replace", `${lease.address}/24`, "dev", "eth0"]);
  const file = `${world.directory}/fetched`;
  await world.network.run(client, ["busybox", "tftp", "-g", "-b", "1468", "-r", "snponly.efi", "-l", file, SERVER]);
  await world.network.run(client, ["ip", "addr", "flush", "dev", "eth0"]);
  return { ...lease, bytes: readFileSync(file).length };
}

function storm(inputs: number, seed: number): Promise<string> {
  return world.network.run(stranger, [process.execPath, sender, SERVER, String(inputs), String(seed)], { timeoutMs: 60_000 });
}

async function footprint(): Promise<{ descriptors: number; residentMiB: number }> {
  const { pid } = world.plane;
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, residentMiB: Number(resident) / 1024 };
}

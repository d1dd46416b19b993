import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fuzzBoot } from "../fuzz/boot.ts";
import { createMatrixWorld, type MatrixWorld, SERVER, type TestMachine } from "./boot-matrix-world.ts";

const sender = fileURLToPath(new URL("../fuzz/sender.ts", import.meta.url));
const pxeClient = fileURLToPath(new URL("../fuzz/pxe-client.ts", import.meta.url));

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

/** Bytes of a datagram that may still be in memory when it is answered. What is remembered on purpose is bounded, and smaller. */
const MOST_KEPT = 40;

/** On live sockets, with the kernel and a client between. */
let world: MatrixWorld;
let known: TestMachine;
let client: string;
let stranger: string;
/** Beside another DHCP server, with port 4011. */
let beside: MatrixWorld;

beforeAll(async () => {
  world = await createMatrixWorld("fz");
  known = await world.machine("known");
  client = world.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: known.mac }]);
  stranger = world.network.plug("s", [{ name: "eth0", bridge: "prov0", address: "10.77.0.240/24" }]);
});
beforeAll(async () => {
  beside = await createMatrixWorld("fp", undefined, { mode: "auto-proxy", pool: undefined, router: undefined });
});
afterAll(() => Promise.all([world, beside].map((one) => one?.end())));

test("bent datagrams on the live sockets: no crash, no leak, and the next good client is served as before", async () => {
  const before = await served();
  await storm(world, stranger, 10_000, seed);
  expect(await served()).toEqual(before);
  const descriptors = descriptorsOf(world);
  const settled = await world.plane.usedBytes();
  await storm(world, stranger, 30_000, seed + 1);
  expect(await served()).toEqual(before);

  // transfers to nobody end by themselves; then as many descriptors are open as before
  await expect.poll(() => descriptorsOf(world), { timeout: 60_000, interval: 500 }).toBeLessThanOrEqual(descriptors);
  expect(((await world.plane.usedBytes()) - settled) / 30_000, "bytes kept of each").toBeLessThan(MOST_KEPT);
  expect(Object.keys((await world.plane.call("refused")) as object).length).toBeGreaterThan(10);
});

test("and on port 4011, beside a DHCP server that stays", async () => {
  const machine = await beside.machine("beside");
  const booter = beside.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: machine.mac, address: "10.77.0.50/24" }]);
  const other = beside.network.plug("s", [{ name: "eth0", bridge: "prov0", address: "10.77.0.240/24" }]);
  const told = async () =>
    JSON.parse(await beside.network.run(booter, [process.execPath, pxeClient, SERVER, "10.77.0.50", machine.mac])) as object;
  const before = await told();
  expect(before).toEqual({ type: 5, file: "snponly.efi", next: SERVER, yours: "0.0.0.0", from: `${SERVER}:4011` });
  // by this the boot matrix tells whether firmware came to this port
  expect((await beside.timeline(machine)).map(({ sign }) => sign?.what)).toContain("leased");
  await storm(beside, other, 4000, seed + 2);
  expect(await told()).toEqual(before);
  const settled = await beside.plane.usedBytes();
  await storm(beside, other, 16_000, seed + 3);
  expect(await told()).toEqual(before);
  expect(((await beside.plane.usedBytes()) - settled) / 16_000, "bytes kept of each").toBeLessThan(MOST_KEPT);
  // 4011 was reached: these reasons are that port's alone
  const refused = (await beside.plane.call("refused")) as Record<string, number>;
  for (const reason of ["proxy: not a request", "proxy: sent from another address than it names"])
    expect(refused[reason], reason).toBeGreaterThan(10);
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

function storm({ network }: MatrixWorld, from: string, inputs: number, seed: number): Promise<string> {
  return network.run(from, [process.execPath, sender, SERVER, String(inputs), String(seed)], { timeoutMs: 60_000 });
}

function descriptorsOf({ plane: { pid } }: MatrixWorld): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

import { execFile, execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BootRecord, InstallerHello } from "../../src/boot/index.ts";
import { type BootProcess, startBootPlane } from "./boot-process.ts";

const run = promisify(execFile);

/** Two namespaces of this test's own, joined by one cable: the boot plane's and the servers'. */
const HERE = `iw-boot-${process.pid}`;
const THERE = `${HERE}-c`;
const MAC = "52:54:00:77:00:01";
const nonce = "0123456789abcdefghijkl";
const url = `http://10.77.0.1:8080/boot/${nonce}`;
const record: BootRecord = {
  machine: "bios-1",
  macs: [MAC],
  hostname: "bios-1",
  intent: { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: ["console=ttyS0"] },
};
const program = Buffer.from(Array.from({ length: 173_792 }, (_, at) => (at * 7) % 256));

let directory: string;
let server: BootProcess;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-boot-"));
  mkdirSync(join(directory, "pxe"));
  writeFileSync(join(directory, "pxe", "snponly.efi"), program);
  writeFileSync(join(directory, "pxe", "undionly.kpxe"), program);
  writeFileSync(join(directory, "kernel"), "the kernel");
  writeFileSync(join(directory, "initrd"), "the initrd");
  writeFileSync(join(directory, "udhcpc.sh"), '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $mask $lease $boot_file $hostname"\nexit 0\n');
  chmodSync(join(directory, "udhcpc.sh"), 0o755);
  ip("netns", "add", HERE);
  ip("netns", "add", THERE);
  ip("-n", HERE, "link", "add", "prov0", "type", "veth", "peer", "name", "eth0", "address", MAC, "netns", THERE);
  ip("-n", HERE, "addr", "add", "10.77.0.1/24", "dev", "prov0");
  ip("-n", HERE, "link", "set", "prov0", "up");
  ip("-n", THERE, "link", "set", "eth0", "up");
  server = await start();
});

afterAll(async () => {
  await server?.end();
  for (const namespace of [HERE, THERE]) ip("netns", "delete", namespace);
  rmSync(directory, { recursive: true });
});

describe("a stranger", () => {
  test("gets an address and nothing to boot", async () => {
    const [address = "", mask, , bootFile] = await udhcpc("-V", "PXEClient:Arch:00007:UNDI:003001", "-x", "0x5d:0007");
    expect(address).toMatch(/^10\.77\.0\.\d+$/);
    expect(mask).toBe("24");
    expect(bootFile).toBe("");
    expect(await server.call("refused")).toMatchObject({ "boot: unknown machine": 1 });
  });
});

describe("a known machine", () => {
  let address: string;

  beforeAll(async () => {
    await server.call("remember", record);
    [address = ""] = await udhcpc();
    ip("-n", THERE, "addr", "add", `${address}/24`, "dev", "eth0");
    ip("-n", THERE, "route", "add", "default", "dev", "eth0");
  });

  test("has one address whatever its client identifier, and its name", async () => {
    expect((await udhcpc("-x", "0x3d:00aabbccdd"))[0]).toBe(address);
    expect((await udhcpc("-C"))[0]).toBe(address);
    expect((await udhcpc("-O", "hostname"))[4]).toBe("bios-1");
    expect(await server.call("addressOf", "bios-1")).toBe(address);
  });

  test.each([
    ["PXEClient:Arch:00000:UNDI:002001", "0x5d:0000", "undionly.kpxe"],
    ["PXEClient:Arch:00007:UNDI:003001", "0x5d:0007", "snponly.efi"],
    ["HTTPClient:Arch:00016:UNDI:003001", "0x5d:0010", `${url}/snponly.efi`],
    ["PXEClient:Arch:00011:UNDI:003000", "0x5d:000b", ""],
  ])("asking as %s", async (vendorClass, architecture, bootFile) => {
    expect((await udhcpc("-V", vendorClass, "-x", architecture, "-O", "bootfile"))[3]).toBe(bootFile);
  });

  test("the dhcp package's client is bound to the same address", async () => {
    const state = JSON.parse(await inside(process.execPath, peer("peer-dhcp.ts"), MAC.replaceAll(":", "-").toUpperCase()));
    expect(state.address).toBe(address);
  });

  test.each([{}, { blockSize: 512 }, { blockSize: 1428, windowSize: 8 }])(
    "the tftp package's client fetches the boot program: %j",
    async (options) => {
      const local = join(directory, "fetched");
      await inside(process.execPath, peer("peer-tftp.ts"), "10.77.0.1", "snponly.efi", local, JSON.stringify(options));
      expect(readFileSync(local).equals(program)).toBe(true);
    },
  );

  test("curl fetches what the nonce opens, and nothing else", async () => {
    expect(await curl(`${url}/kernel`)).toBe("the kernel");
    expect(await curl("-r", "4-", `${url}/initrd`)).toBe("initrd");
    expect(await curl(`${url}/authorized_keys`)).toBe("ssh-ed25519 AAAAC3Nz\n");
    expect(await curl(`${url}/script.ipxe`)).toContain(`kernel ${url}/kernel initrd=initrd`);
    const file = await server.call("serveFile", nonce, "image.zst", join(directory, "kernel"));
    expect(await curl(String(file))).toBe("the kernel");
    await expect(curl(`${url.replace("0123", "3210")}/kernel`)).rejects.toThrow(/404/);
  });

  test("its hello reaches who waits, and is there after SIGKILL, as is its address", async () => {
    const waiting = server.call("hello", nonce);
    const said = { hostKey: "ssh-ed25519 AAAAC3NzaC1", address: "192.0.2.1", mac: MAC, uuid: "u", serial: "s", firmware: "bios" };
    await curl("-X", "POST", "--data", JSON.stringify(said), `${url}/hello`);
    const hello: InstallerHello = { ...said, firmware: "bios", nonce, address };
    expect(await waiting).toEqual(hello);
    expect(await server.call("lastSeen", "bios-1")).toMatch(new RegExp(`^installer said hello from ${address} \\d s ago$`));

    await server.kill();
    server = await start();
    expect(await server.call("records")).toEqual([record]);
    expect(await server.call("hello", nonce)).toEqual(hello);
    expect(await server.call("addressOf", "bios-1")).toBe(address);
    expect((await udhcpc())[0]).toBe(address);
    expect(await curl(`${url}/files/image.zst`)).toBe("the kernel");
  });

  test("with its disk to boot, it gets its address and no boot program, and its nonce is void", async () => {
    await server.call("remember", { ...record, intent: { boot: "disk" } });
    const [same, , , bootFile] = await udhcpc("-V", "PXEClient:Arch:00007:UNDI:003001", "-x", "0x5d:0007");
    expect([same, bootFile]).toEqual([address, ""]);
    await expect(curl(`${url}/kernel`)).rejects.toThrow(/404/);
    expect(await curl("http://10.77.0.1:8080/exit/disk.ipxe")).toContain("boots its own disk");
  });
});

/** The boot plane in its namespace, with sockets the native program opened. */
function start(): Promise<BootProcess> {
  const config = {
    interfaces: [
      {
        name: "prov0",
        address: "10.77.0.1/24",
        pool: { from: "10.77.0.10", to: "10.77.0.200" },
        mode: "reservation",
        routerAdvertisements: false,
      },
    ],
    httpPort: 8080,
    dataDir: directory,
  } as const;
  const assets = { pxeDir: join(directory, "pxe"), kernel: join(directory, "kernel"), initrd: join(directory, "initrd") };
  return startBootPlane(HERE, config, assets);
}

/** One run of busybox's DHCP client: address, prefix length, lease seconds, boot file, host name. */
async function udhcpc(...options: string[]): Promise<string[]> {
  const out = await inside(
    "busybox",
    "udhcpc",
    "-i",
    "eth0",
    "-n",
    "-q",
    "-f",
    "-t",
    "5",
    "-T",
    "1",
    "-s",
    join(directory, "udhcpc.sh"),
    ...options,
  );
  return out.replace(/\n$/, "").split(" ");
}

function curl(...args: string[]): Promise<string> {
  return inside("curl", "-sSf", "--max-time", "10", ...args);
}

async function inside(...command: string[]): Promise<string> {
  const { stdout } = await run("ip", ["netns", "exec", THERE, ...command], { timeout: 30_000 });
  return stdout;
}

function peer(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}

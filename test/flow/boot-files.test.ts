import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BootRecord } from "../../src/boot/index.ts";
import { artifacts, type BootProcess, startBootPlane } from "./boot-process.ts";

const run = promisify(execFile);
const MAC = "52:54:00:77:00:02";
const nonce = "0123456789abcdefghijkl";
const record: BootRecord = {
  machine: "files-1",
  macs: [MAC],
  hostname: "files-1",
  intent: { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: [] },
};
/** Fills its last block at blksize 512, and is rolled over 65,536 blocks of 8. */
const program = pattern(1025 * 512);
const kernel = pattern(24 * 2 ** 20);
const initrd = pattern(300_000);

/** The same files by the native helper and without it: what clients get must not differ. */
describe.each([
  ["the native helper", artifacts.native],
  ["Node alone", ""],
])("by %s", (how, native) => {
  const here = `iw-files-${process.pid}-${how.length}`;
  const there = `${here}-c`;
  const url = `http://10.77.0.1:8080/boot/${nonce}`;
  let directory: string;
  let server: BootProcess;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "ironwright-files-"));
    mkdirSync(join(directory, "pxe"));
    writeFileSync(join(directory, "pxe", "snponly.efi"), program);
    writeFileSync(join(directory, "pxe", "empty.efi"), "");
    writeFileSync(join(directory, "kernel"), kernel);
    writeFileSync(join(directory, "initrd"), initrd);
    for (const namespace of [here, there]) {
      ip("netns", "add", namespace);
      ip("-n", namespace, "link", "set", "lo", "up");
    }
    ip("-n", here, "link", "add", "prov0", "mtu", "4000", "type", "veth", "peer", "name", "eth0", "mtu", "4000", "netns", there);
    ip("-n", here, "addr", "add", "10.77.0.1/24", "dev", "prov0");
    ip("-n", here, "link", "set", "prov0", "up");
    ip("-n", there, "addr", "add", "10.77.0.9/24", "dev", "eth0");
    ip("-n", there, "link", "set", "eth0", "up");
    const at = { name: "prov0", address: "10.77.0.1/24", mode: "reservation", routerAdvertisements: false } as const;
    const config = {
      interfaces: [{ ...at, pool: { from: "10.77.0.10", to: "10.77.0.200" } }],
      httpPort: 8080,
      https: { port: 8443, httpBoot: true },
      dataDir: directory,
    };
    const assets = { pxeDir: join(directory, "pxe"), kernel: join(directory, "kernel"), initrd: join(directory, "initrd") };
    server = await startBootPlane(here, config, assets, { native });
    await server.call("remember", record);
  });

  afterAll(async () => {
    await server?.end();
    for (const namespace of [here, there]) ip("netns", "delete", namespace);
    rmSync(directory, { recursive: true });
  });

  test.each([8, 512, 1468, 3968])("curl by TFTP with blocks of %i", async (size) => {
    const fetched = await fetchTftp(["--tftp-blksize", String(size)], "snponly.efi");
    expect(fetched.equals(program)).toBe(true);
  });

  test("by TFTP without options, and an empty file", async () => {
    expect((await fetchTftp(["--tftp-no-options"], "snponly.efi")).equals(program)).toBe(true);
    const local = join(directory, "empty");
    await inside("busybox", "tftp", "-g", "-l", local, "-r", "empty.efi", "10.77.0.1");
    expect(readFileSync(local).length).toBe(0);
  });

  test.each([
    { blockSize: 1468, windowSize: 16 },
    { blockSize: 512, windowSize: 64 },
  ])("the tftp package's client: %j", async (options) => {
    const local = join(directory, "fetched");
    const peer = fileURLToPath(new URL("peer-tftp.ts", import.meta.url));
    await inside(process.execPath, peer, "10.77.0.1", "snponly.efi", local, JSON.stringify(options));
    expect(readFileSync(local).equals(program)).toBe(true);
  });

  test("32 by TFTP at once", async () => {
    const all = await Promise.all(
      Array.from({ length: 32 }, async (_, at) => {
        const local = join(directory, `fetched-${at}`);
        // 8 a client at most: four clients
        const from = `10.77.0.${20 + Math.floor(at / 8)}`;
        if (at % 8 === 0) ip("-n", there, "addr", "add", `${from}/24`, "dev", "eth0");
        await inside("curl", "-sSf", "--interface", from, "--max-time", "20", "-o", local, "tftp://10.77.0.1/snponly.efi");
        return readFileSync(local).equals(program);
      }),
    );
    expect(all).toEqual(all.map(() => true));
  });

  test("a boot program that changes is the new one at once", async () => {
    const file = join(directory, "pxe", "empty.efi");
    writeFileSync(file, "another program");
    expect((await fetchTftp([], "empty.efi")).toString()).toBe("another program");
    expect((await curl(`${url}/empty.efi`)).toString()).toBe("another program");
    writeFileSync(file, "");
  });

  test("curl by HTTP: whole, resumed, a suffix, one byte, and over one connection", async () => {
    expect((await curl(`${url}/kernel`)).equals(kernel)).toBe(true);
    const half = kernel.length / 2;
    const local = join(directory, "resumed");
    writeFileSync(local, kernel.subarray(0, half));
    await inside("curl", "-sSf", "--max-time", "20", "-C", "-", "-o", local, `${url}/kernel`);
    expect(readFileSync(local).equals(kernel)).toBe(true);
    expect((await curl("-r", "-70000", `${url}/initrd`)).equals(initrd.subarray(-70_000))).toBe(true);
    expect((await curl("-r", "299999-", `${url}/initrd`)).equals(initrd.subarray(-1))).toBe(true);
    const three = await curl(`${url}/initrd`, `${url}/kernel`, `${url}/initrd`);
    expect(three.equals(Buffer.concat([initrd, kernel, initrd]))).toBe(true);
  });

  test("200 bodies over one connection, each asked for as soon as the last one's last byte is there", async () => {
    const one = ["-sSf", "-r", "0-69999", `${url}/initrd`];
    const all = await curl(
      ...Array.from({ length: 200 }, () => ["--next", ...one])
        .flat()
        .slice(1),
    );
    expect(all.equals(Buffer.concat(Array.from({ length: 200 }, () => initrd.subarray(0, 70_000))))).toBe(true);
  });

  test("curl by HTTPS, trusting our authority alone", async () => {
    const secure = url.replace("http:", "https:").replace("8080", "8443");
    const ca = join(directory, "boot-pki", "boot-ca.crt");
    expect((await curl("--cacert", ca, `${secure}/kernel`)).equals(kernel)).toBe(true);
    expect((await curl("--cacert", ca, `${secure}/script.ipxe`)).toString()).toContain(`kernel ${secure}/kernel`);
    await expect(curl(`${secure}/kernel`)).rejects.toThrow(/certificate/);
  });

  test("firmware that boots by HTTP is offered our HTTPS address, and what it fetches there is the boot program", async () => {
    ip("-n", there, "link", "set", "eth0", "address", MAC);
    // option 60 as EDK2 writes it, option 93 its architecture: x64 UEFI HTTP
    const asks = ["-V", "HTTPClient:Arch:00016:UNDI:003001", "-x", "0x5d:0010", "-O", "bootfile", "-O", "vendor"];
    const script = join(directory, "udhcpc.sh");
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && echo "$boot_file|$vendor"\nexit 0\n', { mode: 0o755 });
    const said = await inside("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", script, ...asks);
    const [offered = "", vendorClass] =
      said
        .split("\n")
        .find((line) => line.includes("|"))
        ?.split("|") ?? [];
    expect(offered).toBe(`https://10.77.0.1:8443/boot/${nonce}/snponly.efi`);
    // UEFI 2.10 §24.7.3.1: without it the firmware drops the offer
    expect(vendorClass).toBe("HTTPClient");
    expect((await curl("--cacert", join(directory, "boot-pki", "boot-ca.crt"), offered)).equals(program)).toBe(true);
  });

  test("a stranger in a transfer gets error 5, and the transfer goes on", async () => {
    const peer = fileURLToPath(new URL("peer-tftp-stranger.ts", import.meta.url));
    const one = async () => JSON.parse(await inside(process.execPath, peer, "10.77.0.1", "snponly.efi")) as unknown;
    const good = { blocks: [1, 2], stranger: 5 };
    expect(await one()).toEqual(good);
    // one transfer alone is waited for in another way than several
    expect(await Promise.all([one(), one(), one()])).toEqual([good, good, good]);
  });

  test("an acknowledgement that is said again is not answered, and asking for the size alone is no failure", async () => {
    const peer = fileURLToPath(new URL("peer-tftp-rules.ts", import.meta.url));
    const ends = async () => {
      const socket = join(directory, "run", "daemon.sock");
      const { stdout } = await run("curl", ["-sSf", "--unix-socket", socket, "http://daemon/metrics"]);
      const count = (end: string) =>
        Number(new RegExp(`^ironwright_tftp_transfers_total{.*end="${end}".*} (\\d+)$`, "m").exec(stdout)?.[1] ?? 0);
      return { probes: count("size-probe"), aborted: count("aborted") };
    };
    const before = await ends();
    const told = JSON.parse(await inside(process.execPath, peer, "10.77.0.1", "snponly.efi")) as unknown;
    expect(told).toEqual({ size: String(program.length), blocks: [1, 2, 3, 4] });
    await expect.poll(ends, { timeout: 10_000 }).toEqual({ probes: before.probes + 1, aborted: before.aborted + 1 });
  });

  test("a storm: 24 clients at once each get all of it, and a script meanwhile at once", async () => {
    const storm = Promise.all(Array.from({ length: 24 }, () => curl(`${url}/kernel`).then((body) => body.equals(kernel))));
    const began = performance.now();
    expect((await curl(`${url}/script.ipxe`)).toString()).toContain(`${url}/kernel`);
    expect(performance.now() - began).toBeLessThan(3000);
    const all = await storm;
    expect(all).toEqual(all.map(() => true));
  });

  test("a client that hangs up in the middle is told of, and leaves nothing open", async () => {
    const before = openFiles();
    for (let time = 0; time < 5; time++) {
      await inside("sh", "-c", `curl -s ${url}/kernel | head -c 100000 | wc -c`);
    }
    const broken = async () => JSON.stringify(await server.call("timeline", "files-1"));
    await expect.poll(broken, { timeout: 10_000 }).toContain("kernel broken off after");
    await expect.poll(openFiles, { timeout: 10_000 }).toBeLessThanOrEqual(before + 2);
  });

  test.runIf(native !== "")("the helper's death ends what it sends; the next clients are served without it, then by it again", async () => {
    process.kill(helper() ?? 0, "SIGKILL");
    expect((await fetchTftp([], "snponly.efi")).equals(program)).toBe(true);
    expect((await curl(`${url}/kernel`)).equals(kernel)).toBe(true);
    await expect.poll(helper, { timeout: 10_000 }).toBeDefined();
    await expect.poll(async () => (await curl(`${url}/kernel`)).equals(kernel)).toBe(true);
  });

  /** The helper's process, or the boot plane's own when there is none. */
  function helper(): number | undefined {
    const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").trim().split(" ").map(Number);
    return children.find((pid) => pid > 0 && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("carry"));
  }

  function openFiles(): number {
    const pids = [server.pid, helper()].filter((pid) => pid !== undefined);
    return pids.flatMap((pid) => readdirSync(`/proc/${pid}/fd`).filter((fd) => isFileOrSocket(`/proc/${pid}/fd/${fd}`))).length;
  }

  async function fetchTftp(options: readonly string[], file: string): Promise<Buffer> {
    const local = join(directory, "fetched");
    writeFileSync(local, "");
    await inside("curl", "-sSf", "--max-time", "30", ...options, "-o", local, `tftp://10.77.0.1/${file}`);
    return readFileSync(local);
  }

  async function curl(...args: string[]): Promise<Buffer> {
    const command = ["netns", "exec", there, "curl", "-sSf", "--max-time", "30", ...args];
    const { stdout } = await run("ip", command, { timeout: 40_000, encoding: "buffer", maxBuffer: 64 * 2 ** 20 });
    return stdout;
  }

  async function inside(...command: string[]): Promise<string> {
    const { stdout } = await run("ip", ["netns", "exec", there, ...command], { timeout: 40_000 });
    return stdout;
  }
});

function isFileOrSocket(link: string): boolean {
  try {
    return /^(socket:|\/(?!dev))/.test(readlinkSync(link));
  } catch {
    return false;
  }
}

function pattern(size: number): Buffer {
  return Buffer.from(Uint32Array.from({ length: Math.ceil(size / 4) }, (_, at) => Math.imul(at, 2654435761)).buffer, 0, size);
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}

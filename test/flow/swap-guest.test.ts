import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readIndex } from "../../src/config/artifacts.ts";
import { peers } from "../bench/peers.ts";
import { bootGuest, type Guest } from "./guest.ts";

/** Where this machine's own kernel has no cgroup version 2 or no dm-crypt, Debian's has: the native helper's work on both, in a guest. */
const { native } = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
const canBoot = process.getuid?.() === 0 && process.arch === "x64";
const directory = mkdtempSync(join(tmpdir(), "ironwright-guest-"));
const MIB = 2 ** 20;
const SWAP = "/disk/cells.swap";
const SWAP_BYTES = 128 * MIB;
const HELD = 64 * MIB;
const PAGE = 4096;
const LIMIT = 160 * MIB;

let guest: Guest;

beforeAll(async () => {
  if (!canBoot) return;
  guest = await bootGuest({
    peers: await peers(["linux-image-cloud-amd64"]),
    modules: ["loop", "dm-crypt", "xts", "aesni-intel", "zram", "lz4"],
    programs: { "/bin/native": native },
    memoryMiB: 384,
    disks: { disk: 192, given: 64 },
    directory,
  });
}, 300_000);
afterAll(async () => {
  await guest?.end();
  rmSync(directory, { recursive: true });
});

const swapShown = async () => JSON.parse(await guest.run(`native swap show ${SWAP}`)) as { kind: string; usedBytes: number } | null;
const chargedTo = async (cell: string) => {
  const all = JSON.parse(await guest.run(`native cgroup usage ${cell}`)) as Record<string, { memoryBytes: number; swapBytes: number }>;
  return all[cell] ?? { memoryBytes: 0, swapBytes: 0 };
};
/** The least of ten looks in a second: what else the guest does comes and goes. */
const takenOfMachine = async () => {
  const look = "awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { print total - $2 }' /proc/meminfo";
  return Number(await guest.run(`for at in $(seq 10); do ${look}; sleep 0.1; done | sort -n | head -n 1`)) * 1024;
};

/** A process of a cell, which is given what another command says; its own output waits in /run/CELL. */
async function startCell(cell: string, command: string, given = "true"): Promise<number> {
  const place = `--name ${cell} --uid 70001 --gid 70001 --memory ${LIMIT} --pids 50 --cpu 1500 --read-only /bin=/bin`;
  await guest.run(`mkfifo /run/${cell}`);
  return Number(await guest.run(`${given} 2> /dev/null | native cell ${place} -- ${command} 1<> /run/${cell} 2> /run/error & echo $!`));
}

async function endCell(cell: string): Promise<void> {
  await guest.run(`native cgroup kill ${cell} && native cgroup remove ${cell} && rm /run/${cell}`);
}

/** How often the text is on the guest's first disk, read from outside. */
function onDisk(text: string): number {
  const disk = readFileSync(join(directory, "disk"));
  let count = 0;
  for (let at = disk.indexOf(text); at >= 0; at = disk.indexOf(text, at + text.length)) count += 1;
  return count;
}

describe.runIf(canBoot)("on cgroup version 2 alone", () => {
  test("a cell has its limits there, and all in it are stopped, go on and end, whatever session they are in", async () => {
    expect(await guest.run("grep -c '^cgroup ' /proc/mounts; grep -c '^cgroup2 ' /proc/mounts").catch(String)).toContain("0\n1");
    await startCell("one", "/bin/sh -c 'setsid sleep 600 & exec sleep 600'");
    const group = "/sys/fs/cgroup/ironwright/one";
    const states = () => guest.run(`for pid in $(cat ${group}/cgroup.procs); do awk '{ print $3 }' /proc/$pid/stat; done`);
    await guest.run(`until [ $(grep -c . ${group}/cgroup.procs) = 2 ]; do sleep 0.05; done`);
    const files = ["memory.max", "memory.swap.max", "pids.max", "cpu.max"].map((file) => `${group}/${file}`);
    expect(await guest.run(`cat ${files.join(" ")}`)).toBe([LIMIT, LIMIT, 50, "150000 100000"].join("\n"));
    await guest.run("native cgroup stop one");
    expect(await states()).toBe("T\nT");
    await guest.run("native cgroup continue one");
    expect(await states()).toBe("S\nS");
    await endCell("one");
    expect(await guest.run(`ls -d ${group} /sys/fs/cgroup/ironwright 2> /dev/null || true`)).toBe("");
  });

  test.each([
    ["plain", "finds it on the disk"],
    ["encrypted", "finds nothing on the disk"],
    ["zram", "finds nothing on the disk"],
  ])("frozen into swap that is %s, 64 MiB leave memory; who reads the disk %s; awake all of it is there", async (kind) => {
    const cell = `on-${kind}`;
    const marker = `marker-${randomUUID()}`;
    await guest.run(`native swap on ${kind} ${SWAP} ${SWAP_BYTES}`);
    expect(await swapShown()).toMatchObject({ kind, usedBytes: 0 });
    // past the page cache
    if (kind === "encrypted") expect(await guest.run("cat /sys/block/loop*/loop/dio")).toBe("1");
    const before = await takenOfMachine();
    // a page a line
    const part = randomBytes(PAGE).toString("base64").slice(0, 1012);
    const page = `${marker} ${part.repeat(4)}`.padEnd(PAGE - 1, ".");
    // it has read all, and waits for somebody to take it
    const pid = await startCell(cell, `/bin/dd bs=${HELD} count=1 iflag=fullblock`, `yes '${page}'`);
    await guest.run(`until [ $(cat /sys/fs/cgroup/ironwright/${cell}/memory.current) -gt ${HELD} ]; do sleep 0.05; done`);

    await guest.run(`native cgroup stop ${cell}`);
    await guest.run(`native page out ${pid}:$(awk '{ print $22 }' /proc/${pid}/stat)`);
    await guest.run(`native cgroup reclaim ${cell}`);
    const asleep = await chargedTo(cell);
    // 64 MiB take so little of it, or what they weigh compressed
    expect((await takenOfMachine()) - before).toBeLessThan(kind === "zram" ? HELD / 2 : 4 * MIB);
    expect(asleep.memoryBytes).toBeLessThan(MIB);
    expect(asleep.swapBytes).toBeGreaterThan(HELD);
    expect((await swapShown())?.usedBytes).toBeGreaterThan(HELD);
    const found = onDisk(marker);
    // one may lie across pages that are apart there
    if (kind === "plain") expect(found).toBeGreaterThan((HELD / PAGE) * 0.95);
    else expect(found).toBe(0);

    await guest.run(`native cgroup continue ${cell}`);
    await guest.run(`dd if=/run/${cell} of=/dev/vdb bs=${PAGE} count=${HELD / PAGE} iflag=fullblock conv=fsync`);
    expect(readFileSync(join(directory, "given")).equals(Buffer.alloc(HELD, `${page}\n`))).toBe(true);
    await endCell(cell);
    await guest.run(`native swap off ${SWAP}`);
    expect(await swapShown()).toBeNull();
    expect(await leftOfSwap()).toBe("");
  });

  test("what a swap that was begun left is taken away, and nothing twice", async () => {
    // killed before it was mapped, before it was in use, and after
    await guest.run(`head -c ${2 * MIB} /dev/zero > ${SWAP} && losetup -f ${SWAP} && native swap off ${SWAP}`);
    expect(await leftOfSwap()).toBe("");
    for (const kind of ["encrypted", "zram", "plain"]) {
      await guest.run(`native swap on ${kind} ${SWAP} ${2 * MIB} && swapoff $(awk 'NR == 2 { print $1 }' /proc/swaps)`);
      await guest.run(`native swap off ${SWAP} && native swap off ${SWAP}`);
      expect(await leftOfSwap(), kind).toBe("");
    }
    expect(await guest.run("native swap off /none/such; native swap show /none/such")).toBe("null");
  });

  test.each(["plain", "encrypted"])("swap that is %s is refused in memory, and nothing of it is left", async (kind) => {
    await guest.run("mkdir /run/memory && mount -t tmpfs memory /run/memory");
    const refused = guest.run(`native swap on ${kind} /run/memory/cells.swap ${2 * MIB}`);
    await expect(refused).rejects.toThrow("/run/memory is on tmpfs, where no swap can be");
    expect(await guest.run("ls /run/memory")).toBe("");
    expect(await leftOfSwap()).toBe("");
    await guest.run("umount /run/memory && rmdir /run/memory");
  });
});

function leftOfSwap(): Promise<string> {
  const devices = "/sys/block/dm-* /sys/block/loop*/loop/backing_file /sys/block/zram[1-9]*";
  return guest.run(`tail -n +2 /proc/swaps; ls -d ${SWAP} ${devices} 2> /dev/null || true`);
}

import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { inventoryOf } from "../../src/machine/facts.ts";

const playbooks = join(import.meta.dirname, "..", "..", "playbooks");
const folder = join(playbooks, "install");

test("an image is written to a disk that is there, and to nothing else", () => {
  const dir = mkdtempSync(join(tmpdir(), "ironwright-playbook-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const disk = join(dir, "nvme9n1");
  const script = ["disk.sh", "write-image.sh"].map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
  const known = { IW_DISK: disk, IW_ROOT: `${disk}p3`, IW_SERIAL: "S", IW_WWN: "", IW_SIZE_BYTES: "1" };
  const image = { IW_URL: "http://127.0.0.1:1/", IW_SHA256: "", IW_FORMAT: "ext4+lz4", IW_PACKED_BYTES: "1" };
  const env = { ...process.env, TMPDIR: dir, ...known, ...image };
  const { status, stderr } = spawnSync("sh", ["-eu", "-c", script], { env, encoding: "utf8" });
  expect([status, stderr]).toEqual([1, `${disk} is not there; nothing was written\n`]);
  expect(existsSync(`${disk}p3`)).toBe(false);
});

test.each([
  ["partition", ["ready.sh", "disk.sh", "consent.sh", "partition.sh"]],
  ["write-image", ["ready.sh", "disk.sh", "write-image.sh"]],
  ["bootloader", ["ready.sh", "disk.sh", "bootloader.sh"]],
  ["configure", ["ready.sh", "disk.sh", "configure.sh"]],
])("install/%s writes only after the disk was checked, and partitions only with consent", (name, scripts) => {
  const playbook = parse(readFileSync(join(folder, `${name}.yaml`), "utf8")) as { steps: { script?: string[] }[] };
  expect(playbook.steps.map((step) => step.script)).toEqual([scripts]);
});

describe("what is on a disk, as the scripts that are sent see it", () => {
  const SIZE = 64 * 2 ** 20;

  /** A machine whose only disk and its partitions are files: what /sys/class/block and /dev are to it, and programs of its own. */
  function machine(prepare: (disk: string, dir: string) => void = () => {}) {
    const dir = mkdtempSync(join(tmpdir(), "ironwright-disk-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const entry = join(dir, "sys", "shm!disk");
    for (const made of ["dev", "bin", "sys/shm!disk/device", "sys/shm!disk/queue"]) mkdirSync(join(dir, made), { recursive: true });
    for (const [name, value] of Object.entries({ size: SIZE / 512, ro: 0, "queue/rotational": 0 }))
      writeFileSync(join(entry, name), `${value}\n`);
    const disk = join(dir, "dev", "disk");
    blank(disk);
    prepare(disk, dir);
    for (const name of readdirSync(join(dir, "dev")).filter((name) => name !== "disk")) {
      mkdirSync(join(entry, `shm!${name}`));
      writeFileSync(join(entry, `shm!${name}`, "partition"), "1\n");
    }
    return dir;
  }

  /** Runs a script where /sys/class/block shows that disk alone; `shm!disk` is /dev/shm/disk, as `cciss!c0d0` is /dev/cciss/c0d0. */
  function run(dir: string, script: string, env: Readonly<Record<string, string>> = {}) {
    const enter = 'mount --bind "$1/sys" /sys/class/block && mount --bind "$1/dev" /dev/shm && exec sh -eu -c "$2"';
    const PATH = `${join(dir, "bin")}:${process.env.PATH}`;
    return spawnSync("unshare", ["--mount", "sh", "-euc", enter, "sh", dir, script], { encoding: "utf8", env: { ...env, PATH } });
  }

  function inspected(dir: string): readonly string[] | undefined {
    const { stdout } = run(dir, readFileSync(join(playbooks, "inspect", "facts.sh"), "utf8"));
    const { disks } = inventoryOf("m-1", JSON.parse(stdout));
    expect(disks).toMatchObject([{ path: "/dev/shm/disk", sizeBytes: SIZE }]);
    return disks[0]?.signatures;
  }

  /** After disk.sh, which wants a device and leaves these. */
  function consent(dir: string, mayErase = false) {
    const script = `disk=/dev/shm/disk\nentry='/sys/class/block/shm!disk'\n${readFileSync(join(folder, "consent.sh"), "utf8")}`;
    const { status, stderr } = run(dir, script, { IW_MAY_ERASE: String(mayErase), IW_CLAIM_UID: "u-1" });
    return { status, stderr };
  }

  function blank(path: string): void {
    writeFileSync(path, "");
    truncateSync(path, SIZE);
  }
  function ext4(path: string): void {
    blank(path);
    execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", path]);
  }
  /** An MBR with one Linux partition. */
  function partitionTable(path: string): void {
    const table = Buffer.alloc(512);
    table.writeUInt8(0x83, 450);
    table.writeUInt32LE(2048, 454);
    table.writeUInt32LE(4096, 458);
    table.writeUInt16BE(0x55aa, 510);
    writeFileSync(path, table, { flag: "r+" });
  }

  test("a blank disk needs no consent", () => {
    const dir = machine();
    expect(inspected(dir)).toEqual([]);
    expect(consent(dir)).toEqual({ status: 0, stderr: "" });
  });

  test.each([
    ["a file system", ext4, "ext4"],
    ["a partition table", partitionTable, "dos"],
    ["a file system on a partition", (disk: string) => ext4(`${disk}1`), "ext4"],
  ])("%s does, and nothing is written", (_what, prepare, found) => {
    const dir = machine(prepare);
    cpSync(join(dir, "dev"), join(dir, "before"), { recursive: true });
    expect(inspected(dir)).toEqual([found]);
    expect(consent(dir)).toEqual({ status: 4, stderr: `consent /dev/shm/disk with ${found}\n` });
    expect(consent(dir, true)).toEqual({ status: 0, stderr: "" });
    for (const name of readdirSync(join(dir, "dev")))
      expect(readFileSync(join(dir, "dev", name)).equals(readFileSync(join(dir, "before", name))), name).toBe(true);
  });

  test.each([
    ["that is not there", (disk: string) => rmSync(disk), /No such file/],
    [
      "that cannot be read",
      (disk: string) => {
        rmSync(disk);
        symlinkSync("/proc/self/mem", disk);
      },
      /Input\/output error/,
    ],
    [
      "that wipefs fails on",
      (_disk: string, dir: string) => writeFileSync(join(dir, "bin", "wipefs"), "#!/bin/sh\necho broken >&2\nexit 1\n", { mode: 0o755 }),
      /^broken$/m,
    ],
  ])("a disk %s is not taken for blank", (_what, prepare, why) => {
    const dir = machine(prepare);
    expect(inspected(dir)).toEqual(["unknown"]);
    expect(consent(dir)).toEqual({ status: 1, stderr: expect.stringMatching(why) });
  });
});

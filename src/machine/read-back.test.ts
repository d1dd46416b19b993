import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

/** playbooks/release/read-back.sh reads only: here it reads a plain file of 64 MiB in place of a disk. */

const script = fileURLToPath(new URL("../../playbooks/release/read-back.sh", import.meta.url));
const SIZE = 64 * 2 ** 20;
let dir: string;
let disk: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "iw-read-back-"));
  disk = join(dir, "disk");
  writeFileSync(disk, "");
  truncateSync(disk, SIZE);
});
afterEach(() => rmSync(dir, { recursive: true }));

function put(text: string, at: number): void {
  const file = openSync(disk, "r+");
  writeSync(file, text, at);
  closeSync(file);
}

function readBack(change: Readonly<Record<string, string>> = {}): string {
  const env = { ...process.env, IW_DISKS: `${disk} ${SIZE} `, IW_SEED: "7", IW_SAMPLES: "200", IW_WHOLE: "false", TMPDIR: dir, ...change };
  const { status, stdout, stderr } = spawnSync("sh", ["-eu", script], { encoding: "utf8", env });
  return status === 0 ? stdout.trim() : `${status}: ${stderr.trim()}`;
}

test("a blank disk is proven, in samples and whole", () => {
  expect(JSON.parse(readBack())).toEqual([{ path: disk, samples: 200 }]);
  expect(JSON.parse(readBack({ IW_WHOLE: "true" }))).toEqual([{ path: disk, samples: 200 }]);
});

test.each([
  ["a byte in the first MiB", 4_000, "data in its first MiB"],
  ["a byte in the last one", SIZE - 1, "data in its last MiB"],
])("%s", (_name, at, found) => {
  put("x", at);
  expect(readBack()).toBe(`3: unproven ${disk} ${found}`);
});

test("a single byte anywhere is found when the disk is read whole", () => {
  put("x", 33 * 2 ** 20 + 5);
  expect(readBack({ IW_WHOLE: "true", IW_SAMPLES: "1" })).toBe(`3: unproven ${disk} data somewhere on it (read whole)`);
});

test("data all over the middle is found by the samples, which a seed repeats", () => {
  put("x".repeat(40 * 2 ** 20), 10 * 2 ** 20);
  expect(readBack()).toBe(`3: unproven ${disk} data in a sampled block (seed 7)`);
});

test("a disk that ends early is not proven", () => {
  truncateSync(disk, SIZE / 2);
  expect(readBack()).toMatch(/^3: unproven .* cannot be read$/);
});

test("a signature that is left is named", () => {
  spawnSync("mke2fs", ["-q", "-t", "ext4", disk]);
  expect(readBack()).toBe(`3: unproven ${disk} signatures: ext4 `.trim());
});

test.each([
  ["GRUB's core image", 2 ** 20],
  ["the EFI system partition", 2 * 2 ** 20 + 3],
  ["the root file system's superblock", 66 * 2 ** 20 + 1080],
  ["a copy of it, in group 3", (66 + 3 * 128) * 2 ** 20 + 56],
])("what is left of %s is found without luck", (_name, at) => {
  truncateSync(disk, 1024 * 2 ** 20);
  put("x", at);
  const [IW_DISKS, IW_SAMPLES] = [`${disk} ${1024 * 2 ** 20} `, "1"];
  expect(readBack({ IW_DISKS, IW_SAMPLES })).toBe(`3: unproven ${disk} data where an installation keeps its own`);
});

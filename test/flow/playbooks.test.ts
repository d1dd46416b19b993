import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";

const folder = join(import.meta.dirname, "..", "..", "playbooks", "install");

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

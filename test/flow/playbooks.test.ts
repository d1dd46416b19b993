import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";

test("an image is written to a partition that is there, and to nothing else", () => {
  const dir = mkdtempSync(join(tmpdir(), "ironwright-playbook-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const root = join(dir, "nvme9n1p3");
  const script = join(import.meta.dirname, "..", "..", "playbooks", "install", "write-image.sh");
  const env = { ...process.env, TMPDIR: dir, IW_ROOT: root, IW_URL: "http://127.0.0.1:1/", IW_SHA256: "", IW_FORMAT: "ext4+lz4" };
  const { status, stderr } = spawnSync("sh", ["-eu", script], { env: { ...env, IW_PACKED_BYTES: "1" }, encoding: "utf8" });
  expect([status, stderr]).toEqual([1, `${root} is not there\n`]);
  expect(existsSync(root)).toBe(false);
});

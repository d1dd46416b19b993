import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const repo = join(import.meta.dirname, "../..");

/** Shell scripts of images and playbooks, by the shell that runs them. */
const scripts = ["images", "playbooks"]
  .flatMap((folder) => readdirSync(join(repo, folder), { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .map((file) => ({ file: file.slice(repo.length + 1), first: readFileSync(file, "utf8").split("\n", 1)[0] ?? "" }))
  .filter(({ file, first }) => /^#!.*sh$/.test(first) || file.endsWith(".sh"))
  .map(({ file, first }) => ({ file, shell: first.endsWith("bash") || file === "images/debian.sh" ? "bash" : "sh" }));

test.each(scripts)("$shell can read $file", ({ file, shell }) => {
  const { status, stderr } = spawnSync(shell, ["-n", join(repo, file)], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("there are scripts to read", () => {
  expect(scripts.length).toBeGreaterThan(10);
});

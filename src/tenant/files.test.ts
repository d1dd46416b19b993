import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readText, writePrivate } from "./files.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "iw-files-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

test("a file that says the same is left alone, another is replaced whole", async () => {
  const path = join(dir, "made", "key");
  await writePrivate(path, "one");
  expect([modeOf(path), modeOf(join(dir, "made"))]).toEqual(["600", "700"]);
  const { ino } = statSync(path);
  await writePrivate(path, "one");
  expect(statSync(path).ino).toBe(ino);
  await writePrivate(path, "two");
  expect(await readText(path)).toBe("two");
  expect(statSync(path).ino).not.toBe(ino);
  expect(readdirSync(join(dir, "made"))).toEqual(["key"]);
});

test("its mode is the one asked for, whatever lay beside it and whatever the umask", async () => {
  const path = join(dir, "shared");
  writeFileSync(`${path}.${process.pid}.new`, "left by one that was killed", { mode: 0o644 });
  const before = process.umask(0o077);
  try {
    await writePrivate(path, "text", 0o640);
  } finally {
    process.umask(before);
  }
  expect(modeOf(path)).toBe("640");
});

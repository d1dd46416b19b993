import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fileHolds } from "./disk.ts";

const dir = mkdtempSync(join(tmpdir(), "ironwright-disk-"));
afterAll(() => rmSync(dir, { recursive: true }));

test("a text is found between holes and across the pieces it is read in, and not where it is not", async () => {
  const path = join(dir, "disk.raw");
  const file = await open(path, "w");
  await file.truncate(8 * 1024 ** 3);
  await file.write(Buffer.alloc(256 * 1024, "x"), 0, undefined, 5 * 1024 ** 3);
  await file.write(Buffer.from("marker-1"), 0, undefined, 5 * 1024 ** 3 + 64 * 1024 - 3);
  await file.close();
  expect(await fileHolds(path, "marker-1")).toBe(true);
  expect(await fileHolds(path, "marker-2")).toBe(false);
});

test("a disk that is not there is no proof", async () => {
  await expect(fileHolds(join(dir, "none"), "marker")).rejects.toThrow("exit 2");
});

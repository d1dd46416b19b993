import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { createNetbooting } from "./netbooting.ts";

const directory = mkdtempSync(join(tmpdir(), "ironwright-netbooting-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("who boots is in the file for a while, and a rack that boots at once is one writing", async () => {
  const path = join(directory, "run", "netbooting");
  const gathered: (() => void)[] = [];
  let now = 1_000_000;
  const clock: Clock = { now: () => new Date(now), sleep: () => new Promise((resolve) => void gathered.push(resolve)) };
  const netbooting = createNetbooting({
    path,
    clock,
    onTrouble: (error) => {
      throw error;
    },
  });
  const written = async () => {
    for (const write of gathered.splice(0)) write();
    await Promise.resolve();
    return readFileSync(path, "utf8");
  };

  for (const last of ["01", "02", "01"]) netbooting.saw(`52:54:00:00:00:${last}`);
  expect([gathered.length, existsSync(path)]).toEqual([1, false]);
  expect(await written()).toBe("52:54:00:00:00:01 1180\n52:54:00:00:00:02 1180\n");
  netbooting.saw("52:54:00:00:00:01");
  expect(gathered.length).toBe(0);
  now += 100_000;
  netbooting.saw("52:54:00:00:00:01");
  expect(await written()).toContain("52:54:00:00:00:01 1280\n");
  now += 100_000;
  netbooting.saw("52:54:00:00:00:03");
  expect(await written()).toBe("52:54:00:00:00:01 1280\n52:54:00:00:00:03 1380\n");
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Lock, missingOptional } from "../../scripts/complete-lock.mjs";

const repo = join(import.meta.dirname, "../..");
const lock: Lock = JSON.parse(readFileSync(join(repo, "package-lock.json"), "utf8"));

test("the lock file names every optional package, or npm 11 and later refuse it (node scripts/complete-lock.mjs adds them)", () => {
  expect(missingOptional(lock)).toEqual([]);
});

test("a package left out is seen, wherever its dependent would look for it", () => {
  const packages = {
    "": {},
    "node_modules/a": { optionalDependencies: { "a-linux-x64": "1.0.0", "a-darwin-x64": "1.0.0", nested: "1.0.0" } },
    "node_modules/a/node_modules/nested": {},
    "node_modules/a-linux-x64": {},
  };
  expect(missingOptional({ packages })).toEqual([{ by: "node_modules/a", name: "a-darwin-x64", version: "1.0.0" }]);
});

test("the lock file names no download addresses: whoever installs has a registry of their own", () => {
  expect(Object.keys(lock.packages).filter((name) => lock.packages[name]?.resolved)).toEqual([]);
});

test("what is installed here is pinned by its hash", () => {
  const unpinned = Object.entries(lock.packages).filter(([name, one]) => name && !("integrity" in one) && isForHere(one));
  expect(unpinned.map(([name]) => name)).toEqual([]);
});

function isForHere({ os, cpu, libc }: { os?: string[]; cpu?: string[]; libc?: string[] }): boolean {
  const processor = !cpu || cpu.includes("x64") || cpu.includes("arm64");
  return (!os || os.includes("linux")) && processor && !libc?.includes("musl");
}

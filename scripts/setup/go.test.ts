import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createContext } from "./context.mjs";
import { goBuild, ownPlaces } from "./go.mjs";
import { ownCache } from "./npm.mjs";

const theirs = { GOMODCACHE: "/home/me/go/pkg/mod", GOCACHE: "/home/me/.cache/go-build" };
const modules = { GOPATH: "/c/go", GOMODCACHE: "/c/go/pkg/mod", GOFLAGS: "-modcacherw" };

test("a person's own caches of Go and npm are used where they are, each by itself; else this project's", () => {
  expect(ownPlaces(theirs, "/c", () => true)).toEqual({});
  expect(ownPlaces(theirs, "/c", (path) => path === theirs.GOCACHE)).toEqual(modules);
  expect(ownPlaces(theirs, "/c", (path) => path === theirs.GOMODCACHE)).toEqual({ GOCACHE: "/c/go/build" });
  expect(ownPlaces(theirs, "/c", () => false)).toEqual({ ...modules, GOCACHE: "/c/go/build" });
  expect(ownCache("/home/me/.npm", "/c", (path) => path === "/home/me/.npm/_cacache")).toEqual([]);
  expect(ownCache("/home/me/.npm", "/c", (path) => path === "/home/me/.npm")).toEqual(["--cache", "/c/npm"]);
});

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-go-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

test("a build leaves nothing in a home that has no Go files; all of it lies in the cache, and can be removed", async () => {
  const [home, cacheDir, module] = ["home", "cache", "module"].map((name) => join(dir, name)) as [string, string, string];
  for (const made of [home, cacheDir, module]) mkdirSync(made);
  writeFileSync(join(module, "go.mod"), "module example.test/nothing\n\ngo 1.21\n");
  // the standard library's smallest part: it has to be compiled anew
  writeFileSync(join(module, "main.go"), "package main\n\nfunc main() {}\n");
  vi.stubEnv("HOME", home);
  for (const name of ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "GOPATH", "GOMODCACHE", "GOCACHE"]) vi.stubEnv(name, undefined);
  const lines = { say: () => {}, step: <T>(_: string, work: (progress: (text: string) => void) => Promise<T>) => work(() => {}) };
  const ctx = createContext({ repo: dir, cacheDir, purpose: "test", lines });
  const to = join(dir, "nothing");
  await goBuild(ctx, { module, to, linkerFlags: "-s -w", progress: () => {} });
  await ctx.run(to, []);
  expect(readdirSync(home)).toEqual([]);
  expect(readdirSync(join(cacheDir, "go")).sort()).toContain("build");
}, 120_000);

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createContext, keyOf, SetupError } from "./context.mjs";

let dir: string;
let said: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-setup-"));
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

function context() {
  const step = <T>(label: string, work: (progress: (text: string) => void) => Promise<T>) => {
    said.push(label);
    return work(() => {});
  };
  return createContext({ repo: dir, cacheDir: join(dir, "cache"), purpose: "test", lines: { say: (text) => said.push(text), step } });
}

test("the key follows content, names, modes and links, and not where the checkout lies", () => {
  const tree = (place: string, text: string) => {
    const root = join(dir, place);
    mkdirSync(join(root, "sub"), { recursive: true });
    writeFileSync(join(root, "sub", "a"), text);
    symlinkSync("/nowhere", join(root, "link"));
    return root;
  };
  const key = keyOf([tree("one", "same"), "flags"]);
  expect(keyOf([tree("two", "same"), "flags"])).toBe(key);
  expect(keyOf([tree("three", "other"), "flags"])).not.toBe(key);
  expect(keyOf([join(dir, "one"), "other flags"])).not.toBe(key);
  rmSync(join(dir, "two", "link"));
  symlinkSync("/elsewhere", join(dir, "two", "link"));
  expect(keyOf([join(dir, "two"), "flags"])).not.toBe(key);
});

test("what is cached is built once", async () => {
  const ctx = context();
  const build = (into: string) => Promise.resolve(writeFileSync(join(into, "out"), "built"));
  const what = { part: "part", key: "key", label: "a part" };
  const first = await ctx.cache(what, build);
  const second = await ctx.cache(what, build);
  expect(second).toBe(first);
  expect(readFileSync(join(first, "out"), "utf8")).toBe("built");
  expect(said).toEqual(["a part"]);
});

test("a build that fails leaves nothing, and what a killed one left is not taken for done", async () => {
  const ctx = context();
  const what = { part: "part", key: "key", label: "a part" };
  const fails = ctx.cache(what, async (into) => {
    writeFileSync(join(into, "half"), "");
    throw new Error("broken");
  });
  await expect(fails).rejects.toThrow("broken");
  expect(readdirSync(join(dir, "cache", "part"))).toEqual([]);

  mkdirSync(join(dir, "cache", "part", ".unfinished"));
  writeFileSync(join(dir, "cache", "part", ".unfinished", "half"), "");
  const done = await ctx.cache(what, async (into) => writeFileSync(join(into, "whole"), ""));
  expect(readdirSync(done)).toEqual(["whole"]);
});

test("a command that fails is told with its last lines and the place of its log", async () => {
  const ctx = context();
  const failing = ctx.run("sh", ["-c", "echo the reason >&2; exit 3"]);
  await expect(failing).rejects.toThrow(/sh ended with 3: the reason/);
  const mend = await failing.catch((error: unknown) => (error instanceof SetupError ? error.mend : ""));
  const log = /read (\S+),/.exec(mend)?.[1] ?? "";
  expect(readFileSync(log, "utf8")).toContain("the reason");
});

test("a program that is not there is named with its mend", async () => {
  await expect(context().run("no-such-program-here", [])).rejects.toMatchObject({
    mend: expect.stringContaining("install no-such-program-here"),
  });
});

test("an interruption reaches all that a command started", async () => {
  const ctx = context();
  const mark = join(dir, "still-there");
  const running = ctx.run("sh", ["-c", `(sleep 5; touch ${mark}) & echo started; wait`], { onLine: () => ctx.abort() });
  await expect(running).rejects.toThrow(/SIGTERM|143/);
  expect(existsSync(mark)).toBe(false);
  expect(ctx.signal.aborted).toBe(true);
});

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const demo = fileURLToPath(new URL("demo.ts", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");

/** What a run might leave behind, as the kernel lists it. */
function traces(): Record<string, string> {
  const list = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: "utf8" }).stdout;
  return {
    namespaces: list("ip", "netns", "list"),
    interfaces: list("ip", "-o", "link")
      .replace(/^\d+: /gm, "")
      .replace(/ link\/.*$/gm, ""),
    mounts: readFileSync("/proc/mounts", "utf8"),
    swaps: readFileSync("/proc/swaps", "utf8"),
    processes: list("ps", "-eo", "comm")
      .split("\n")
      .filter((name) => /qemu|etcd|kube|redis/.test(name))
      .sort()
      .join("\n"),
  };
}

test("both servers: powered off → GPU pod → given back and wiped, with the daemon killed three times on the second", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ironwright-demo-"));
  const before = traces();
  try {
    const json = join(dir, "timeline.json");
    const run = spawn(process.execPath, [demo, "--kill", "--json", json], { stdio: ["ignore", "inherit", "inherit"] });
    const code = await new Promise<number | null>((resolve) => run.once("exit", resolve));
    expect(code).toBe(0);
    const timeline = JSON.parse(readFileSync(json, "utf8")) as {
      steps: { title: string; seconds: number }[];
      history: { phase: string }[];
    };
    expect(timeline.steps.length).toBeGreaterThan(8);
    expect(timeline.history.map((entry) => entry.phase)).toContain("InUse");
    expect(traces()).toEqual(before);
    expect(existsSync(join(cache, "demo"))).toBe(false);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
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
    files: [tmpdir(), homedir(), "/etc", "/run", "/var/lib", "/var/log"]
      .flatMap((place) =>
        readdirSync(place)
          .filter((name) => /^(ironwright|iw-)/.test(name))
          .map((name) => join(place, name)),
      )
      .join("\n"),
    processes: list("ps", "-eo", "comm")
      .split("\n")
      .filter((name) => /qemu|etcd|kube|redis/.test(name))
      .sort()
      .join("\n"),
  };
}

test("both servers: powered off → GPU pod → given back and wiped, with the daemon killed three times on the second", async () => {
  const dir = mkdtempSync(join(tmpdir(), "demo-"));
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

test("Ctrl-C in the middle: the reason, the log's place, a non-zero exit, and nothing left", async () => {
  const before = traces();
  const run = spawn(process.execPath, [demo], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  run.stdout.on("data", (data: Buffer) => {
    const begun = said.includes("Machines are declared");
    said += data.toString();
    if (!begun && said.includes("Machines are declared")) run.kill("SIGINT");
  });
  const code = await new Promise<number | null>((resolve) => run.once("close", resolve));
  expect(said).toContain("stopped by SIGINT");
  expect(code).toBe(1);
  const log = /the daemon's log: (\S+)/.exec(said)?.[1] ?? "";
  expect(readFileSync(log, "utf8")).toContain('"msg":"ready"');
  rmSync(log);
  expect(traces()).toEqual(before);
});

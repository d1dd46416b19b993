import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { STAGE_DIR } from "./stage.ts";

const demo = fileURLToPath(new URL("demo.ts", import.meta.url));
const repository = fileURLToPath(new URL("../..", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");

function namesIn(place: string): readonly string[] {
  return readdirSync(place)
    .sort()
    .map((name) => join(place, name));
}

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
    files: [
      ...["/tmp", "/var/tmp", "/dev/shm", homedir()].flatMap(namesIn),
      // the system writes there meanwhile
      ...["/etc", "/run", "/var/lib", "/var/log"].flatMap(namesIn).filter((path) => /\/(ironwright|iw-)[^/]*$/.test(path)),
    ].join("\n"),
    processes: list("ps", "-eo", "comm")
      .split("\n")
      .filter((name) => /qemu|etcd|kube|redis/.test(name))
      .sort()
      .join("\n"),
  };
}

/** A home and a place for temporary files of one run's own: whatever is left in them is the run's. */
function places() {
  const dir = mkdtempSync(join(tmpdir(), "demo-"));
  const [home, temporary] = [join(dir, "home"), join(dir, "tmp")];
  for (const place of [home, temporary]) mkdirSync(place);
  return {
    dir,
    env: { ...process.env, HOME: home, TMPDIR: temporary, IRONWRIGHT_CACHE: cache },
    left: () => [home, temporary].flatMap((place) => readdirSync(place, { recursive: true }).map((name) => join(place, String(name)))),
  };
}

let run: ReturnType<typeof places>;
beforeEach(() => {
  run = places();
});
afterEach(() => rmSync(run.dir, { recursive: true }));

/** Runs the demo to its end; resolves to its exit code and what it said. */
async function demonstrate(args: readonly string[], onText: (said: string, child: ChildProcess) => void = () => {}) {
  const child = spawn(process.execPath, [demo, ...args], { stdio: ["ignore", "pipe", "inherit"], env: run.env });
  let said = "";
  child.stdout.on("data", (data: Buffer) => {
    process.stdout.write(data);
    said += data.toString();
    onText(said, child);
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, said };
}

test("both servers: powered off → GPU pod → given back and wiped, with the daemon killed three times on the second", async () => {
  const before = traces();
  const json = join(run.dir, "timeline.json");
  const { code } = await demonstrate(["--kill", "--json", json]);
  expect(code).toBe(0);
  const timeline = JSON.parse(readFileSync(json, "utf8")) as {
    steps: { title: string; seconds: number }[];
    history: { phase: string }[];
  };
  expect(timeline.steps.length).toBeGreaterThan(8);
  expect(timeline.history.map((entry) => entry.phase)).toContain("InUse");
  expect(run.left()).toEqual([]);
  expect(traces()).toEqual(before);
  expect(existsSync(STAGE_DIR)).toBe(false);
});

test("Ctrl-C in the middle: the reason, the log's place, a non-zero exit, and nothing left", async () => {
  const before = traces();
  let interrupted = false;
  const { code, said } = await demonstrate([], (text, child) => {
    if (interrupted || !text.includes("Machines are declared")) return;
    interrupted = child.kill("SIGINT");
  });
  expect(said).toContain("stopped by SIGINT");
  expect(code).toBe(1);
  const log = /the daemon's log: (\S+)/.exec(said)?.[1] ?? "";
  expect(readFileSync(log, "utf8")).toContain('"msg":"ready"');
  rmSync(log);
  expect(run.left()).toEqual([]);
  expect(traces()).toEqual(before);
});

test("--keep leaves it running, and every command it prints works; --down ends it and leaves nothing", async () => {
  const before = traces();
  const { code, said } = await demonstrate(["--keep", "--early"]);
  try {
    expect(code).toBe(0);
    const commands = said.split("To look around:")[1]?.split("To end it:")[0]?.trim() ?? "";
    expect(commands.split("\n")).toHaveLength(6);
    // as a person types them, in a shell at the checkout
    const typed = spawnSync("bash", ["-euc", commands], { cwd: repository, encoding: "utf8", env: { ...process.env, HOME: run.dir } });
    expect([typed.status, typed.stderr]).toEqual([0, expect.not.stringContaining("rror")]);
    expect(typed.stdout).toMatch(/^bios-1 +(Discovered|Inspecting|Available) /m);
    expect(typed.stdout).toMatch(/^uefi-1 +(Discovered|Inspecting|Available) /m);
    expect(typed.stdout).toContain("inspect begins");
    expect(typed.stdout).toContain('"msg":"ready"');
    expect(traces()).not.toEqual(before);
  } finally {
    expect(await demonstrate(["--down"])).toMatchObject({ code: 0 });
  }
  expect(run.left()).toEqual([]);
  expect(traces()).toEqual(before);
  expect(existsSync(STAGE_DIR)).toBe(false);
});

import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readArtifacts } from "../../src/config/artifacts.ts";
import { callJson } from "../../src/ipc/index.ts";
import { runningProcesses } from "../processes.ts";
import { lookAround } from "./look-around.ts";
import { STAGE } from "./stage.ts";
import type { Timeline } from "./timeline.ts";

const demo = fileURLToPath(new URL("demo.ts", import.meta.url));
const repository = fileURLToPath(new URL("../..", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
const artifacts = readArtifacts(join(cache, "artifacts.json"));

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
    // by name: how much of somebody else's is used changes
    swaps: readFileSync("/proc/swaps", "utf8").replace(/[ \t].*$/gm, ""),
    // /sys/fs/cgroup/ironwright with version 2, one below each controller with version 1
    cgroups: list("find", "/sys/fs/cgroup", "-type", "d", "-path", "*/ironwright*"),
    devices: namesIn("/sys/block")
      .flatMap((device) => ["loop/backing_file", "dm/name", "disksize"].map((file) => join(device, file)))
      .filter(existsSync)
      .map((file) => `${file}: ${readFileSync(file, "utf8")}`)
      .join(""),
    files: [
      ...["/tmp", "/var/tmp", "/dev/shm", homedir()].flatMap(namesIn),
      // the system writes there meanwhile
      ...["/etc", "/run", "/var/lib", "/var/log"].flatMap(namesIn).filter((path) => /\/(ironwright|iw-)[^/]*$/.test(path)),
    ].join("\n"),
    processes: foreignProcesses()
      .filter((command) =>
        ["qemu", "etcd", "kube", "redis", "ironwright", repository, cache, STAGE.dir].some((mark) => command.includes(mark)),
      )
      .sort()
      .join("\n"),
  };
}

/** Command lines of all that the test's runner has not started, or has lost. */
function foreignProcesses(): readonly string[] {
  const processes = runningProcesses();
  const parents = new Map(processes.map(({ pid, parent }) => [pid, parent]));
  const isOwn = (pid: number | undefined): boolean => pid !== undefined && (pid === process.ppid || isOwn(parents.get(pid)));
  return processes.filter(({ pid }) => !isOwn(pid)).map(({ command }) => command);
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

/** The commands of `--keep` as a person types them, in a shell at the checkout. */
function typed(commands: string): SpawnSyncReturns<string> {
  const env = { ...process.env, HOME: run.dir };
  return spawnSync("bash", ["-euc", commands], { cwd: repository, encoding: "utf8", env, timeout: 60_000 });
}

/** What they print, if each of them works. */
function printed({ status, stdout, stderr }: SpawnSyncReturns<string>): string {
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("rror")]);
  return stdout;
}

/** The rows of the table that a run ends with. */
function tableOf(said: string): readonly string[] {
  const [head, ...rows] = said.split("\n\n").at(-1)?.trim().split("\n") ?? [];
  expect(head).toMatch(/^STEP +SECONDS/);
  expect(rows.filter((row) => row.includes("◀ slowest"))).toHaveLength(1);
  return rows;
}

/** Somebody else's may go meanwhile; what is new, or there once more, is the run's. */
function nothingIsLeft(before: ReturnType<typeof traces>): void {
  expect(run.left()).toEqual([]);
  const more = Object.entries(traces()).flatMap(([what, now]) => {
    const known = before[what]?.split("\n") ?? [];
    return now.split("\n").filter((line) => {
      const at = known.indexOf(line);
      if (at >= 0) known.splice(at, 1);
      return at < 0;
    });
  });
  expect(more).toEqual([]);
  expect(existsSync(STAGE.dir)).toBe(false);
}

test("both servers: powered off → GPU pod → given back and wiped, with the daemon killed three times on the second", async () => {
  const before = traces();
  const json = join(run.dir, "timeline.json");
  let shell: SpawnSyncReturns<string> | undefined;
  const { code, said } = await demonstrate(["--kill", "--json", json], (text, child) => {
    if (shell || !text.includes("✓ the pod runs on bios-1")) return;
    // it waits meanwhile: this is what --keep leaves
    child.kill("SIGSTOP");
    shell = typed(lookAround(join(artifacts.kube.bin, "kubectl")));
    child.kill("SIGCONT");
  });
  expect(code).toBe(0);
  if (!shell) throw new Error("no pod ran on bios-1");
  const seen = printed(shell);
  expect(seen).toMatch(/^bios-1 +InUse /m);
  expect(seen).toMatch(/^node\/bios-1 +Ready /m);
  expect(seen).toMatch(/^pod\/train-bios-1-\S+ +1\/1 +Running /m);
  const rows = tableOf(said);
  expect(rows.at(-1)).toContain("all of it is ended and removed");
  const { failed, steps, machines } = JSON.parse(readFileSync(json, "utf8")) as Timeline;
  expect(failed).toBeUndefined();
  expect(steps).toHaveLength(rows.length);
  expect(steps.map((step) => step.title)).toContain("tenant acme is deleted; nothing of it is left");
  expect(machines.map((machine) => machine.name)).toEqual(["bios-1", "uefi-1"]);
  for (const { runningSeconds, history } of machines) {
    expect(runningSeconds).toBeGreaterThan(1);
    expect(history.map((entry) => entry.phase)).toEqual(expect.arrayContaining(["InUse", "Available"]));
  }
  nothingIsLeft(before);
});

test.each([
  { signal: "SIGINT", step: "Machines are declared", what: "Ctrl-C in the middle" },
  { signal: "SIGHUP", step: "a virtual rack", what: "a terminal that is closed while the daemon starts" },
] as const)("$what: the reason, the log's place, a non-zero exit, and nothing left", async ({ signal, step }) => {
  const before = traces();
  let interrupted = false;
  const { code, said } = await demonstrate([], (text, child) => {
    if (interrupted || !text.includes(step)) return;
    interrupted = child.kill(signal);
  });
  expect(said).toContain(`stopped by ${signal}`);
  expect(code).toBe(1);
  expect(tableOf(said).at(-1)).toContain("all of it is ended and removed");
  const log = /log: (\S+-daemon\.log)/.exec(said)?.[1] ?? "";
  if (signal === "SIGINT") expect(readFileSync(log, "utf8")).toContain('"msg":"ready"');
  for (const [, kept = ""] of said.matchAll(/ log: (\S+)/g)) rmSync(kept);
  nothingIsLeft(before);
});

test("a part that cannot run: the step that failed, the reason, the log's place, a non-zero exit, and nothing left", async () => {
  const before = traces();
  const broken = join(run.dir, "cache");
  mkdirSync(broken);
  const native = join(broken, "native");
  writeFileSync(native, "#!/bin/sh\necho this one is broken >&2\nexit 1\n", { mode: 0o755 });
  writeFileSync(join(broken, "artifacts.json"), JSON.stringify({ ...artifacts, native }));
  run.env.IRONWRIGHT_CACHE = broken;
  const json = join(run.dir, "timeline.json");
  const { code, said } = await demonstrate(["--json", json]);
  expect(code).toBe(1);
  expect(said).toMatch(/the daemon ended \(1\) before it was ready:\n(.*\n)*this one is broken/);
  const log = / log: (\S+-daemon\.log)/.exec(said)?.[1] ?? "";
  expect(readFileSync(log, "utf8")).toContain("this one is broken");
  const [rack, daemon, end, ...more] = tableOf(said);
  expect([rack, daemon, end, more]).toEqual([
    expect.stringContaining("a virtual rack"),
    expect.stringMatching(/^the daemon: .*✗ failed/),
    expect.stringContaining("all of it is ended and removed"),
    [],
  ]);
  expect(JSON.parse(readFileSync(json, "utf8"))).toMatchObject({ failed: expect.stringContaining("this one is broken"), machines: [] });
  nothingIsLeft(before);
});

test("--keep leaves it running, and every command it prints works; --down ends it, also what a killed supervisor left", async () => {
  const before = traces();
  const { code, said } = await demonstrate(["--keep", "--early"]);
  try {
    expect(code).toBe(0);
    const commands = said.split("To look around:")[1]?.split("To end it:")[0]?.trim() ?? "";
    expect(commands.split("\n")).toHaveLength(6);
    const seen = printed(typed(commands));
    expect(seen).toMatch(/^bios-1 +(Discovered|Inspecting|Available) /m);
    expect(seen).toMatch(/^uefi-1 +(Discovered|Inspecting|Available) /m);
    expect(seen).toContain("inspect begins");
    expect(seen).toContain('"msg":"ready"');
    expect(traces()).not.toEqual(before);
    const unreachable = (reason: string) => new Error(reason);
    const supervisor = await callJson<{ pid: number }>(STAGE.supervisor, "GET", "/", { unreachable });
    process.kill(supervisor.pid, "SIGKILL");
  } finally {
    expect(await demonstrate(["--down"])).toMatchObject({ code: 0 });
  }
  nothingIsLeft(before);
});

import { spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import type { IronwrightError } from "../core/errors.ts";
import { superviseChild } from "./child.ts";
import { connectSupervisor, startEmbeddedSupervisor } from "./client.ts";
import { takeLock } from "./lock.ts";
import { rotateLog, tailLog } from "./log-file.ts";
import { isReady } from "./probe.ts";
import { findSession, identify, isAlive } from "./process.ts";
import type { ChildSpec, ChildStatus, Supervisor } from "./supervisor.ts";

const log = pino({ level: "silent" });
let dir: string;
let supervisor: Supervisor;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "iw-"));
  supervisor = await startEmbeddedSupervisor({ dir, log });
});
afterAll(async () => {
  await supervisor.shutdown();
  await rm(dir, { recursive: true, force: true });
});

function shell(name: string, script: string, more: Partial<ChildSpec> = {}): ChildSpec {
  return { name, command: ["/bin/sh", "-c", script], logFile: join(dir, `${name}.log`), ...more };
}

async function statusOf(name: string): Promise<ChildStatus | undefined> {
  return (await supervisor.list()).find((child) => child.name === name);
}

async function until<T>(look: () => Promise<T | undefined | false> | T | undefined | false, timeoutMs = 15_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  while (Date.now() < end) {
    const found = await look();
    if (found) return found;
    await systemClock.sleep(20);
  }
  throw new Error(`not within ${timeoutMs} ms: ${look}`);
}

async function failure(call: Promise<unknown>): Promise<IronwrightError> {
  return call.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: IronwrightError) => error,
  );
}

test("the socket and the records are ours alone", async () => {
  expect(statSync(join(dir, "run", "supervisor.sock")).mode & 0o777).toBe(0o600);
  await supervisor.ensure(shell("private", "exec sleep 600", { env: { TOKEN: "x" } }));
  expect(statSync(join(dir, "children", "private.json")).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, "private.log")).mode & 0o777).toBe(0o600);
  await supervisor.remove("private");
});

test("the same specification changes nothing, another one restarts", async () => {
  const spec = shell("steady", "exec sleep 600");
  await supervisor.ensure(spec);
  const first = await statusOf("steady");
  await supervisor.ensure({ ...spec });
  expect((await statusOf("steady"))?.pid).toBe(first?.pid);
  await supervisor.ensure({ ...spec, env: { A: "1" } });
  const second = await statusOf("steady");
  expect(second?.pid).not.toBe(first?.pid);
  expect(identify(first?.pid ?? 0)).toBeUndefined();
  // a session and a process group of its own
  const fields = readFileSync(`/proc/${second?.pid}/stat`, "latin1").split(") ")[1]?.split(" ");
  expect(fields?.slice(2, 4)).toEqual([String(second?.pid), String(second?.pid)]);
  expect(readFileSync(`/proc/${second?.pid}/environ`, "latin1")).toContain("A=1");
  expect(readFileSync(`/proc/${second?.pid}/environ`, "latin1")).not.toContain("NODE_");
  await supervisor.remove("steady");
});

test("what ends is started again with back-off, and says why", async () => {
  await supervisor.ensure(shell("failing", "echo about to fail; exit 3"));
  const status = await until(async () => {
    const now = await statusOf("failing");
    return now && now.restarts >= 2 && now.state === "backing-off" && now;
  });
  expect(status).toMatchObject({ ready: false, reason: "it ended with exit code 3" });
  expect(status.lastLog).toContain("about to fail");
  expect(Date.parse(status.nextTryAt ?? "")).toBeGreaterThan(Date.now() - 5_000);
  await supervisor.stop("failing");
  expect(await statusOf("failing")).toMatchObject({ state: "stopped" });
  await supervisor.remove("failing");
});

test("what is ready for a while has half of its ends forgotten, again and again", async () => {
  const waits: number[] = [];
  const hurried = {
    ...systemClock,
    sleep(ms: number, signal?: AbortSignal) {
      if (ms < 30_000) return systemClock.sleep(ms, signal);
      waits.push(ms);
      return systemClock.sleep(5, signal);
    },
  };
  const child = superviseChild(
    { spec: shell("forgiven", "exec sleep 600"), wanted: "running", restarts: 600 },
    { file: join(dir, "forgiven.json"), siblings: () => [], clock: hurried, log },
  );
  await child.resume();
  await until(() => child.status().restarts === 0);
  expect(waits).toEqual([30_000, 30_000, 30_000]);
  const { pid = 0 } = child.status();
  expect(pid).toBeGreaterThan(0);
  process.kill(pid, "SIGKILL");
  await until(() => child.status().restarts === 1);
  await child.remove();
});

test("what ends again and again waits for longer, but nobody waits long for what is the host's own", async () => {
  const waits: number[] = [];
  const noted = {
    ...systemClock,
    sleep(ms: number, signal?: AbortSignal) {
      if (ms >= 500 && ms < 30_000) waits.push(ms);
      return systemClock.sleep(ms < 30_000 ? 5 : ms, signal);
    },
  };
  const child = superviseChild(
    { spec: shell("hopeless", "exit 1"), wanted: "running", restarts: 0 },
    { file: join(dir, "hopeless.json"), siblings: () => [], clock: noted, log },
  );
  await child.resume();
  await until(() => child.status().restarts >= 7);
  await child.remove();
  expect(waits.slice(0, 6)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000]);
});

test("a name given anew while its old child ends: the new one runs, known, after the old one", async () => {
  const slow = shell("anew", "trap 'sleep 0.3; exit' TERM; echo up; while :; do sleep 0.05; done");
  await supervisor.ensure(slow);
  await until(async () => (await supervisor.tail("anew", 1)) === "up");
  const old = (await statusOf("anew"))?.pid ?? 0;
  const removed = supervisor.remove("anew");
  await until(async () => (await statusOf("anew"))?.state === "stopping");
  await Promise.all([removed, supervisor.ensure(shell("anew", "exec sleep 600")), supervisor.ensure(shell("anew", "exec sleep 600"))]);
  const now = await statusOf("anew");
  expect(identify(old)).toBeUndefined();
  expect(identify(now?.pid ?? 0)).toBeDefined();
  expect(JSON.parse(readFileSync(join(dir, "children", "anew.json"), "utf8"))).toMatchObject({ process: { pid: now?.pid } });
  await supervisor.remove("anew");
  expect(identify(now?.pid ?? 0)).toBeUndefined();
});

test("a record of a process long gone harms nobody who has its number now", async () => {
  const stranger = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
  const ended = new Promise((resolve) => stranger.once("exit", resolve));
  const child = superviseChild(
    {
      // its log cannot be opened, so that it cannot be started either
      spec: { ...shell("stale", "true"), logFile: dir },
      wanted: "running",
      process: { pid: stranger.pid ?? 0, startTicks: "1", bootId: "an earlier one" },
      restarts: 0,
    },
    { file: join(dir, "stale.json"), siblings: () => [], clock: systemClock, log },
  );
  await child.resume();
  expect(child.status()).toMatchObject({ state: "backing-off", reason: expect.stringContaining("could not be started") });
  await child.stop();
  expect(identify(stranger.pid ?? 0)).toBeDefined();
  stranger.kill("SIGKILL");
  await ended;
});

test("a call that cannot be understood is refused, and the supervisor goes on", async () => {
  const socketPath = join(dir, "run", "supervisor.sock");
  const statusOfCall = (path: string) =>
    new Promise((resolve, reject) => {
      const call = request({ socketPath, path, agent: false }, (answer) => resolve(answer.resume().statusCode));
      call.once("error", reject).end();
    });
  expect(await Promise.all(["//", "//[", "/children/%zz"].map(statusOfCall))).toEqual([404, 404, 404]);
  expect(await supervisor.list()).toBeDefined();
});

test("not ready in time: the log says why", async () => {
  await supervisor.ensure(shell("slow", "echo waiting for godot; exec sleep 600", { ready: { tcp: "127.0.0.1:1" } }));
  const error = await failure(supervisor.waitReady("slow", { timeoutMs: 300 }));
  expect(error.code).toBe("IRW_CHILD_NOT_READY");
  expect(error.message).toContain("waiting for godot");
  await expect(supervisor.waitReady("slow", { timeoutMs: 60_000, signal: AbortSignal.timeout(50) })).rejects.toThrow(/timeout/);
  await supervisor.remove("slow");
});

test.each(["tcp", "unix"])("ready by %s", async (kind) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const ready = kind === "tcp" ? { tcp: `127.0.0.1:${port}` } : { unix: join(dir, "run", "supervisor.sock") };
  await supervisor.ensure(shell(`ready-${kind}`, "exec sleep 600", { ready }));
  await supervisor.waitReady(`ready-${kind}`, { timeoutMs: 5_000 });
  expect(await statusOf(`ready-${kind}`)).toMatchObject({ state: "running", ready: true });
  await supervisor.remove(`ready-${kind}`);
  server.close();
});

test("a probe that cannot be sent means not ready, and ends nobody", async () => {
  const file = join(dir, "half.pem");
  await writeFile(file, "-----BEGIN CERTIFICATE");
  expect(await isReady({ http: { url: "https://127.0.0.1:1/", caFile: file, certFile: file, keyFile: file } })).toBe(false);
  expect(await isReady({ tcp: "127.0.0.1:99999" })).toBe(false);
});

test("a probe has an end, whatever answers: it drips, or says ready and never stops", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    // the head of a TLS record, and a byte of it now and then
    socket.write(Buffer.from([22, 3, 3, 64, 0]));
    const drip = setInterval(() => socket.write("x"), 50);
    socket.once("close", () => clearInterval(drip));
  });
  const socketPath = join(dir, "drip.sock");
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const began = Date.now();
  expect(await isReady({ http: { url: "https://127.0.0.1/", socketPath } })).toBe(false);
  expect(Date.now() - began).toBeLessThan(4_000);
  const limit = AbortSignal.timeout(100);
  expect(await isReady({ http: { url: "https://127.0.0.1/", socketPath } }, limit)).toBe(false);
  expect(Date.now() - began).toBeLessThan(5_000);
  const endless = createHttpServer((_, response) => {
    const flood = setInterval(() => response.write("x"), 5);
    response.once("close", () => clearInterval(flood));
  });
  const path = join(dir, "endless.sock");
  await new Promise<void>((resolve) => endless.listen(path, resolve));
  const hungUp = new Promise((resolve) => endless.once("connection", (socket) => socket.once("close", resolve)));
  expect(await isReady({ http: { url: "http://127.0.0.1/", socketPath: path } })).toBe(true);
  await hungUp;
  server.close();
  endless.close();
});

test("what ignores SIGTERM is killed, with all its group", async () => {
  const script = "trap '' TERM; sleep 600 & echo $!; while :; do sleep 1; done";
  await supervisor.ensure(shell("stubborn", script, { stopTimeoutS: 0.2 }));
  const pid = (await statusOf("stubborn"))?.pid ?? 0;
  const grandchild = Number(await until(async () => (await supervisor.tail("stubborn", 1)).trim()));
  expect(identify(grandchild)).toBeDefined();
  await supervisor.stop("stubborn");
  expect(identify(pid)).toBeUndefined();
  await until(() => identify(grandchild) === undefined);
  await supervisor.remove("stubborn");
});

test.runIf(process.getuid?.() === 0)("another user's process is not taken for a child, whatever its environment says", async () => {
  const stranger = spawn("sleep", ["600"], { detached: true, stdio: "ignore", env: { MARK: "mine" }, uid: 65_534, gid: 65_534, cwd: "/" });
  const ended = new Promise((resolve) => stranger.once("exit", resolve));
  await until(() => findSession("MARK", "mine", [65_534]) !== undefined);
  expect(findSession("MARK", "mine", [65_534])?.pid).toBe(stranger.pid);
  expect(findSession("MARK", "mine", [0, 65_533])).toBeUndefined();
  stranger.kill("SIGKILL");
  await ended;
});

test.runIf(process.getuid?.() === 0)("a child runs as the user it is given, without our groups", async () => {
  await supervisor.ensure(shell("nobody", "id -u; id -G; exec sleep 600", { uid: 65534 }));
  await until(async () => (await supervisor.tail("nobody", 2)) === "65534\n65534");
  await supervisor.remove("nobody");
});

test("asked of some children it tells of these alone, of all when none is named", async () => {
  for (const name of ["this", "that"]) await supervisor.ensure(shell(name, "sleep 60"));
  const namesOf = async (names?: readonly string[]) => (await supervisor.list(names)).map((child) => child.name).sort();
  expect(await namesOf()).toEqual(expect.arrayContaining(["that", "this"]));
  expect(await namesOf(["this", "unknown"])).toEqual(["this"]);
  expect(await namesOf([])).toEqual([]);
  for (const name of ["this", "that"]) await supervisor.remove(name);
});

describe("what cannot be run is refused, and nothing is started", () => {
  test.each([
    ["a name that is a path", { name: "../x" }, "name"],
    ["a relative program", { command: ["sh"] }, "command.0"],
    ["a program that is not there", { command: ["/no/such/program"] }, "/no/such/program"],
    ["a probe of no kind", { ready: {} }, "ready"],
    ["a misspelt field", { uidd: 1 }, "uidd"],
  ])("%s", async (_, change, problem) => {
    const before = await supervisor.list();
    const error = await failure(supervisor.ensure({ ...shell("bad", "true"), ...change } as ChildSpec));
    expect(error.code).toBe("IRW_CHILD_INVALID");
    expect(error.message).toContain(problem);
    expect(await supervisor.list()).toEqual(before);
  });

  test("a child nobody knows", async () => {
    expect((await failure(supervisor.stop("unknown"))).code).toBe("IRW_CHILD_INVALID");
    await supervisor.remove("unknown");
  });
});

test("a supervisor that is not there", async () => {
  expect((await failure(connectSupervisor(join(dir, "none.sock")).list())).code).toBe("IRW_SUPERVISOR_UNREACHABLE");
});

test("a lock is held by one, and free when released", () => {
  const file = join(dir, "a.lock");
  const first = takeLock(file);
  expect(first).toBeDefined();
  expect(takeLock(file)).toBeUndefined();
  first?.release();
  const second = takeLock(file);
  expect(second).toBeDefined();
  second?.release();
});

test("a process is known by more than its number", () => {
  const self = identify(process.pid);
  if (!self) throw new Error("we do not run?");
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTicks: "1" })).toBe(false);
  expect(isAlive({ ...self, bootId: "another" })).toBe(false);
  expect(identify(2 ** 22 + 1)).toBeUndefined();
});

test("a child whose pid was never written down is found by the next supervisor", async () => {
  const other = await mkdtemp(join(tmpdir(), "iw-"));
  const first = await startEmbeddedSupervisor({ dir: other, log });
  await first.ensure({ name: "lost", command: ["/bin/sh", "-c", "sleep 600 & wait"], logFile: join(other, "lost.log") });
  const [before] = await first.list();
  const supervisorOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[1];
  const parent = Number(supervisorOf(before?.pid ?? 0));
  process.kill(parent, "SIGKILL");
  await until(() => identify(parent) === undefined);
  const file = join(other, "children", "lost.json");
  const { process: _forgotten, ...record } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  await writeFile(file, JSON.stringify(record));
  const second = await startEmbeddedSupervisor({ dir: other, log });
  expect((await second.list())[0]).toMatchObject({ name: "lost", pid: before?.pid, state: "running" });
  await second.shutdown();
  expect(identify(before?.pid ?? 0)).toBeUndefined();
  await rm(other, { recursive: true, force: true });
});

test("logs are rotated by size and read from their end", async () => {
  const file = join(dir, "big.log");
  await writeFile(file, Array.from({ length: 20_000 }, (_, at) => `line ${at}`).join("\n"));
  expect(tailLog(file, 2)).toBe("line 19998\nline 19999");
  expect(rotateLog(file, 1_000_000)).toBe(false);
  expect(rotateLog(file, 100_000)).toBe(true);
  expect(statSync(file).size).toBe(0);
  expect(tailLog(`${file}.1`, 1)).toBe("line 19999");
  expect(tailLog(join(dir, "none.log"), 1)).toBe("");
});

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { readIndex } from "../../src/config/artifacts.ts";
import { isError } from "../../src/core/errors.ts";
import { createLog } from "../../src/observe/index.ts";
import { type CellPlace, type ChildSpec, type ChildStatus, type Supervisor, startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import { groupsOfCells } from "./cell-groups.ts";
import { eventually } from "./eventually.ts";

/** Names of cells, so that tests beside one another do not meet. */
let made = 0;

/** A cell of a test's own: the real door, a server behind it, and one that nobody asks. */
export interface CellWorld {
  readonly dir: string;
  readonly name: string;
  readonly uid: number;
  readonly native: string;
  supervisor(): Supervisor;
  specs(): { readonly door: ChildSpec; readonly server: ChildSpec; readonly idle: ChildSpec };
  /** Starts all three and waits until the server answers. */
  start(): Promise<void>;
  child(part: "door" | "server" | "idle"): Promise<ChildStatus>;
  /** Of the door, the server and the idle one. */
  pids(): Promise<readonly [number, number, number]>;
  /** SIGKILL for the supervisor alone. */
  killSupervisor(): Promise<void>;
  /** A new supervisor. */
  connect(): Promise<void>;
  stop(): Promise<void>;
}

const SERVER = `
const held = Buffer.alloc(48 * 2 ** 20, 1);
let calls = 0;
let broken = false;
let unready = false;
require("node:http").createServer(({ url }, response) => {
  unready ||= url === "/unready";
  if (unready && url === "/") response.statusCode = 503;
  if (!broken) response.end(String(held[calls++ * 4096]));
  broken ||= url === "/break";
}).listen(6443, "127.0.0.1");
`;

/** @param options.diskMiB the data directory is a file system of this size */
export async function cellWorld(options: { readonly diskMiB?: number } = {}): Promise<CellWorld> {
  const { native } = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
  const log = createLog("warn");
  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  if (options.diskMiB !== undefined) execFileSync("mount", ["-t", "tmpfs", "-o", `size=${options.diskMiB}m,mode=700`, "tmpfs", dir]);
  made += 1;
  const name = `flow-${process.pid}-${made}`;
  const uid = 2_980_000 + made;
  let current = await startEmbeddedSupervisor({ dir, log });
  let supervising = await supervisorOf(dir);
  const server = join(dir, "server.cjs");
  writeFileSync(server, SERVER);

  const programs = ["/usr", "/lib", "/lib64", "/bin"].filter((path) => existsSync(path)).map((path) => ({ source: path, target: path }));
  const spec = (
    part: string,
    command: readonly string[],
    holder: boolean,
    mounts: CellPlace["mounts"],
  ): ChildSpec & { readonly cell: CellPlace } => ({
    name: `${name}-${part}`,
    command,
    logFile: join(dir, `${part}.log`),
    stopTimeoutS: 2,
    cell: { name, native, uid, gid: uid, holder, limits: { memoryBytes: 2 ** 30, pids: 200, cpuMillis: 2000 }, mounts },
  });
  const socket = join(dir, "door", "api.sock");
  const door = spec("door", ["/opt/native", "door", "--api-listen", "fd:3", "--api", "127.0.0.1:6443", ...ETCD], true, [
    { source: native, target: "/opt/native" },
  ]);
  const specs = () => ({
    door: { ...door, ready: { unix: socket }, cell: { ...door.cell, listen: { socket, gid: 0 } } },
    server: {
      ...spec("server", ["/opt/node", "/opt/server.cjs"], false, [
        ...programs,
        { source: process.execPath, target: "/opt/node" },
        { source: server, target: "/opt/server.cjs" },
      ]),
      ready: { http: { url: "http://127.0.0.1:6443/", socketPath: socket } },
      awake: { http: { url: "http://127.0.0.1:6443/awake", socketPath: socket } },
    },
    idle: spec("idle", ["/bin/sh", "-c", "setsid sleep 600 & exec sleep 600"], false, programs),
  });

  async function child(part: "door" | "server" | "idle"): Promise<ChildStatus> {
    const found = (await current.list()).find((one) => one.name === `${name}-${part}`);
    if (!found) throw new Error(`there is no ${part}`);
    return found;
  }

  return {
    dir,
    name,
    uid,
    native,
    supervisor: () => current,
    specs,
    child,
    async start() {
      const { door, server, idle } = specs();
      for (const one of [door, server, idle]) await current.ensure(one);
      for (const one of [door, server, idle]) await current.waitReady(one.name, { timeoutMs: 20_000 });
    },
    async pids() {
      const pidOf = async (part: "door" | "server" | "idle") => {
        const { pid, state } = await child(part);
        // never 0, which to kill(2) is all of us
        if (pid === undefined) throw new Error(`${part} has no process: it is ${state}`);
        return pid;
      };
      return [await pidOf("door"), await pidOf("server"), await pidOf("idle")];
    },
    async killSupervisor() {
      const dead = supervising;
      process.kill(dead, "SIGKILL");
      await eventually("the supervisor is gone", () => expect(existsSync(`/proc/${dead}/exe`)).toBe(false));
    },
    async connect() {
      current = await startEmbeddedSupervisor({ dir, log });
      const before = supervising;
      supervising = await supervisorOf(dir);
      expect(supervising).not.toBe(before);
    },
    async stop() {
      await current.shutdown().catch((error: unknown) => {
        if (!isError(error, "IRW_SUPERVISOR_UNREACHABLE")) throw error;
      });
      // who was ended last is not gone at once
      if (options.diskMiB !== undefined) await eventually("nobody is on the disk", async () => void execFileSync("umount", [dir]), 10_000);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const ETCD = ["--etcd-listen", "127.0.0.1:2379", "--etcd", "/run/etcd/client.sock"];

/** The supervisor says itself which process it is. */
async function supervisorOf(dir: string): Promise<number> {
  const text = await new Promise<string>((resolve, reject) => {
    const call = request({ socketPath: join(dir, "run", "supervisor.sock"), path: "/", agent: false }, (answer) => {
      answer.setEncoding("utf8").once("data", resolve).once("error", reject);
    });
    call.once("error", reject).end();
  });
  return (JSON.parse(text) as { pid: number }).pid;
}

export function networkOf(pid: number | string): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

export function statusField(pid: number, field: string): string {
  return new RegExp(`^${field}:[ \\t]*(.*?)[ \\t]*$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}

/** Who is in a group of this name. */
export function inGroup(name: string): readonly number[] {
  const all = groupsOf(name).flatMap((dir) => readFileSync(join(dir, "cgroup.procs"), "utf8").trim().split("\n").filter(Boolean));
  return [...new Set(all.map(Number))];
}

/** Where the kernel keeps a group of this name, in any hierarchy. */
export function groupsOf(name: string): readonly string[] {
  return groupsOfCells()
    .map((dir) => join(dir, name))
    .filter((path) => existsSync(path));
}

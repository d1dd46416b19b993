import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { BootAssets, BootInterface } from "../../src/boot/index.ts";
import { type BootProcess, startBootPlane } from "../flow/boot-process.ts";
import type { Peers } from "./peers.ts";

/** Two namespaces of this process's own, joined by one cable: servers listen `here` on `prov0`, clients are `there` on `eth0`. */
export interface Wire {
  readonly here: string;
  readonly there: string;
  /** A directory of its own, removed with the rest. */
  readonly directory: string;
  /** A program inside a namespace; its process is the program itself. */
  start(namespace: string, program: string, args: readonly string[], env?: Readonly<Record<string, string>>): ChildProcess;
  remove(): void;
}

/** @param addresses of the two ends, with the network's prefix; the clients' end may have none */
export function layWire(name: string, addresses: { readonly here: string; readonly there?: string }): Wire {
  const here = `${name}-${process.pid}`;
  const there = `${here}-c`;
  const directory = mkdtempSync(join(tmpdir(), `${name}-`));
  const ip = (...args: string[]) => execFileSync("ip", args);
  for (const namespace of [here, there]) {
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
  }
  ip("-n", here, "link", "add", "prov0", "type", "veth", "peer", "name", "eth0", "netns", there);
  ip("-n", here, "addr", "add", addresses.here, "dev", "prov0");
  if (addresses.there) ip("-n", there, "addr", "add", addresses.there, "dev", "eth0");
  ip("-n", here, "link", "set", "prov0", "up");
  ip("-n", there, "link", "set", "eth0", "up");
  const children = new Set<ChildProcess>();
  const interrupted = () => {
    remove();
    process.exit(130);
  };
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);

  function remove(): void {
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
    for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    for (const namespace of [here, there]) ip("netns", "delete", namespace);
    rmSync(directory, { recursive: true });
  }

  return {
    here,
    there,
    directory,
    start(namespace, program, args, env = process.env as Record<string, string>) {
      const child = spawn("ip", ["netns", "exec", namespace, program, ...args], { stdio: ["pipe", "pipe", "pipe"], env });
      children.add(child);
      child.once("exit", () => children.delete(child));
      return child;
    },
    remove,
  };
}

export interface BootProcessOptions {
  readonly interfaces: readonly BootInterface[];
  readonly httpPort?: number;
  /** Where its state is; the wire's directory when absent. */
  readonly dataDir?: string;
  /** What it serves instead of files made for it. */
  readonly assets?: BootAssets;
  /** Kernel, initrd and boot programs it serves, by size in bytes. */
  readonly bytes?: number;
}

export interface WiredBootProcess extends BootProcess {
  readonly dataDir: string;
}

export async function startBootProcess(wire: Wire, options: BootProcessOptions): Promise<WiredBootProcess> {
  const { interfaces, httpPort = 8080, dataDir = wire.directory, bytes = 100_000 } = options;
  const assets = options.assets ?? writeAssets(join(wire.directory, "assets"), bytes);
  return { ...(await startBootPlane(wire.here, { interfaces, httpPort, dataDir }, assets, { level: "error" })), dataDir };
}

function writeAssets(directory: string, bytes: number) {
  mkdirSync(join(directory, "pxe"), { recursive: true });
  const content = Buffer.alloc(bytes, "ironwright ");
  const assets = { pxeDir: join(directory, "pxe"), kernel: join(directory, "kernel"), initrd: join(directory, "initrd") };
  for (const file of [assets.kernel, assets.initrd, join(assets.pxeDir, "undionly.kpxe"), join(assets.pxeDir, "snponly.efi")]) {
    writeFileSync(file, content);
  }
  return assets;
}

/** CPU seconds a process and its threads have used. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The same with its children, those that ended and those that live. */
export function cpuSecondsOfAll(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  const own = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0) / 100;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
  return children.reduce((sum, child) => sum + cpuSecondsOfAll(Number(child)), own);
}

export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

/** A server that is measured. */
export interface Contestant {
  readonly name: string;
  start(): Promise<{ readonly pid: number; end(): Promise<void> }>;
}

const STARTED_AFTER_MS = 500;

/** Somebody else's server, started with these arguments in the servers' namespace for each of its turns. */
export function peer(name: string, wire: Wire, packages: Peers, program: string, args: readonly string[]): Contestant {
  return {
    name,
    async start() {
      const child = wire.start(wire.here, packages.program(program), args, packages.env);
      child.stdout?.resume();
      let said = "";
      child.stderr?.on("data", (part) => (said += part));
      const over = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      await wait(STARTED_AFTER_MS);
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`${name} did not start: ${said}`);
      return {
        pid: child.pid,
        async end() {
          child.kill();
          await over;
        },
      };
    },
  };
}

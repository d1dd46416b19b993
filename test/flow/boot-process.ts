import { type ChildProcess, spawn } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type BootAssets, type BootConfig, type BootPlane, socketArguments } from "../../src/boot/index.ts";
import { readIndex } from "../../src/config/index.ts";

/** What the project's set-up made: the native program, the installer, firmware and boot programs. */
export const artifacts = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));

/** A boot plane in a process of its own. */
export interface BootProcess {
  readonly pid: number;
  call(method: keyof BootPlane, ...args: readonly unknown[]): Promise<unknown>;
  /** Of its heap, without what nobody needs any more. */
  usedBytes(): Promise<number>;
  kill(): Promise<void>;
  end(): Promise<void>;
}

export interface BootPlaneProcessOptions {
  /** What moves its files; by itself when it is empty. */
  readonly native?: string;
  /** Of its log. */
  readonly level?: string;
}

/** The boot plane alone in a namespace, with sockets the native program opened: no Redis, no apiserver, no daemon beside it. */
export async function startBootPlane(
  namespace: string,
  config: BootConfig,
  assets: BootAssets,
  { native = artifacts.native, level = "warn" }: BootPlaneProcessOptions = {},
): Promise<BootProcess> {
  const program = fileURLToPath(new URL("boot-server.ts", import.meta.url));
  const command = [process.execPath, program, JSON.stringify({ config, assets, native })];
  const child = spawn(artifacts.native, ["sockets", "--netns", namespace, ...socketArguments(config), "--", ...command], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, LEVEL: process.env.LEVEL ?? level },
  });
  return talkTo(child);
}

async function talkTo(child: ChildProcess): Promise<BootProcess> {
  const { stdin, stdout, pid } = child;
  if (!stdin || !stdout || pid === undefined) throw new Error("the boot plane could not be started");
  const over = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  createInterface({ input: stdout }).on("line", (line) => {
    const { id, value, error } = JSON.parse(line);
    const call = open.get(id);
    open.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(error));
  });
  stdin.on("error", () => {}); // it ended: `over` says so
  const answer = (id: number) => {
    const told = new Promise<unknown>((resolve, reject) => open.set(id, { resolve, reject }));
    return Promise.race([told, over.then(() => Promise.reject(new Error("the boot plane ended")))]);
  };
  let last = 0;
  const ask = (call: string, args: readonly unknown[]) => {
    last += 1;
    stdin.write(`${JSON.stringify({ id: last, call, args })}\n`);
    return answer(last);
  };
  await answer(0);
  return {
    pid,
    call: (method, ...args) => ask(method, args),
    usedBytes: async () => Number(await ask("usedBytes", [])),
    async kill() {
      child.kill("SIGKILL");
      await over;
    },
    async end() {
      stdin.end();
      await over;
    },
  };
}

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** A provisioning network of a test's own: bridges in a namespace, and a namespace for each who is plugged into one. */
export interface TestNetwork {
  /** Where the bridges are, and the boot plane. */
  readonly namespace: string;
  /** Another network, on a bridge of its own without an address: what lies behind a relay. */
  bridge(name: string, address?: string): void;
  /** A namespace with one NIC on a bridge; returns its name. */
  plug(who: string, nics: readonly Nic[]): string;
  /** A tap on the bridge for a virtual server. */
  tap(bridge: string): string;
  /** Runs a command to its end there; returns standard output. Fails with standard error. */
  run(namespace: string, command: readonly string[], options?: RunOptions): Promise<string>;
  /** The same, for what takes no time. */
  sync(namespace: string, command: readonly string[]): void;
  /** Starts a command there that ends with the network. */
  start(namespace: string, command: readonly string[], env?: Readonly<Record<string, string>>): ChildProcess;
  remove(): Promise<void>;
}

export interface Nic {
  readonly name: string;
  readonly bridge: string;
  readonly mac?: string;
  readonly address?: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export function createTestNetwork(name: string): TestNetwork {
  const namespace = `iw-${name}-${process.pid}`;
  const namespaces = [namespace];
  const children = new Set<ChildProcess>();
  let taps = 0;
  ip("netns", "add", namespace);
  ip("-n", namespace, "link", "set", "lo", "up");

  return {
    namespace,
    bridge(bridge, address) {
      ip("-n", namespace, "link", "add", bridge, "type", "bridge");
      if (address !== undefined) ip("-n", namespace, "addr", "add", address, "dev", bridge);
      ip("-n", namespace, "link", "set", bridge, "up");
    },
    plug(who, nics) {
      const there = `${namespace}-${who}`;
      namespaces.push(there);
      ip("netns", "add", there);
      ip("-n", there, "link", "set", "lo", "up");
      for (const [at, nic] of nics.entries()) {
        const port = `${who}${at}`;
        const mac = nic.mac === undefined ? [] : ["address", nic.mac];
        ip("-n", namespace, "link", "add", port, "type", "veth", "peer", "name", nic.name, ...mac, "netns", there);
        ip("-n", namespace, "link", "set", port, "master", nic.bridge, "up");
        if (nic.address !== undefined) ip("-n", there, "addr", "add", nic.address, "dev", nic.name);
        ip("-n", there, "link", "set", nic.name, "up");
      }
      return there;
    },
    tap(bridge) {
      const tap = `tap${taps++}`;
      ip("-n", namespace, "tuntap", "add", "dev", tap, "mode", "tap");
      ip("-n", namespace, "link", "set", tap, "master", bridge, "up");
      return tap;
    },
    async run(there, command, { env, timeoutMs = 30_000 } = {}) {
      const options = { timeout: timeoutMs, maxBuffer: 1 << 26, ...(env ? { env } : {}) };
      const { stdout } = await execute("ip", ["netns", "exec", there, ...command], options);
      return stdout;
    },
    sync(there, command) {
      ip("netns", "exec", there, ...command);
    },
    start(there, command, env) {
      const child = spawn("ip", ["netns", "exec", there, ...command], { stdio: ["ignore", "pipe", "pipe"], ...(env ? { env } : {}) });
      children.add(child);
      child.once("exit", () => children.delete(child));
      return child;
    },
    async remove() {
      await Promise.all([...children].map((child) => ended(child)));
      for (const one of namespaces.reverse()) ip("netns", "delete", one);
    },
  };
}

/** Ends a child that was started, and waits for its end. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 2000);
  await over;
  clearTimeout(hard);
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}

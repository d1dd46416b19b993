import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ended } from "./boot-network.ts";

/** A network beside the host, in a namespace of its own: a BMC, and where nodes are. */
export interface Outside {
  /** The host's address there. */
  readonly host: string;
  readonly bmc: string;
  readonly node: string;
  /** Another tenant's node. */
  readonly other: string;
  /** Connections that came to the BMC or the other's node. */
  seen(): number;
  run(program: string, args: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export async function outside(): Promise<Outside> {
  const name = `iw-out-${process.pid}`;
  const link = `out${process.pid % 100_000}`;
  const subnet = `10.99.${process.pid % 250}`;
  const at = (nth: number) => `${subnet}.${nth}`;
  const ip = (...args: string[]) => execFileSync("ip", args);
  ip("netns", "add", name);
  ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name);
  ip("addr", "add", `${at(1)}/28`, "dev", link);
  ip("link", "set", link, "up");
  for (const nth of [2, 3, 4]) ip("-n", name, "addr", "add", `${at(nth)}/28`, "dev", "eth0");
  ip("-n", name, "link", "set", "lo", "up");
  ip("-n", name, "link", "set", "eth0", "up");
  const standing = [
    { name: "bmc", address: at(2), port: 443 },
    { name: "ipmi", address: at(2), port: 623 },
    { name: "other", address: at(4), port: 10250 },
  ];
  const program = [process.execPath, "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "gateway-node.ts")];
  const child = spawn("ip", ["netns", "exec", name, ...program, JSON.stringify(standing)], { stdio: ["ignore", "pipe", "inherit"] });
  let seen = 0;
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    if ("seen" in (JSON.parse(line) as object)) seen += 1;
  });
  await once(lines, "line");
  return {
    host: at(1),
    bmc: at(2),
    node: at(3),
    other: at(4),
    seen: () => seen,
    run: (command, args) =>
      new Promise((resolve, reject) =>
        execFile("ip", ["netns", "exec", name, command, ...args], { timeout: 30_000 }, (error, out, err) =>
          error ? reject(new Error(err)) : resolve(out),
        ),
      ),
    async remove() {
      await ended(child);
      ip("netns", "delete", name);
    },
  };
}

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { connectSsh, type Ssh } from "../../src/machine/ssh.ts";
import { type DaemonKey, daemonKey, type HostKey, parseHostKey } from "../../src/machine/ssh-key.ts";
import { ended } from "./boot-network.ts";
import { eventually } from "./eventually.ts";
import type { Standing } from "./gateway-node.ts";
import { standingCommand, untilStanding } from "./standing.ts";

const execute = promisify(execFile);

/**
 * A node that was just installed: the system of the node image with its own OpenSSH, in namespaces of its own (mounts, processes,
 * network), and behind it a pod in a network namespace of its own, as the bridge plugin makes one.
 */
export interface NodeSystem {
  readonly address: string;
  /** The host's, on the link to it. */
  readonly host: string;
  readonly hostKey: HostKey;
  /** As root, by the daemon's key. */
  ssh(): Promise<Ssh>;
  /** Somebody listens on the node, or in its pod. */
  stand(where: "node" | "pod", all: readonly Standing[]): Promise<void>;
  /** Connections that came to who stands there. */
  seen(name: string): number;
  /** Of SSH, that are open now. */
  sessions(): Promise<number>;
  remove(): Promise<void>;
}

/** The image as a file system that any number of nodes begin with. */
export function unpackImage(packed: string, dir: string): string {
  const image = join(dir, "node.ext4");
  execFileSync("lz4", ["-d", "-f", "-q", packed, image]);
  return image;
}

/** $1: the image; $2: a directory for what changes. */
const SYSTEM = `
mount -t tmpfs tmpfs "$2" && mkdir "$2/image" "$2/upper" "$2/work" "$2/root"
mount -o loop,ro "$1" "$2/image"
root="$2/root"
mount -t overlay -o "lowerdir=$2/image,upperdir=$2/upper,workdir=$2/work" overlay "$root"
mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/run" && mount --rbind /dev "$root/dev"
mkdir "$root/run/sshd"
printf '%s\\n' "$3" > "$root/root/.ssh/authorized_keys"
printf '%s\\n' "$4" > "$root/etc/ssh/ssh_host_ed25519_key"
chmod 600 "$root/root/.ssh/authorized_keys" "$root/etc/ssh/ssh_host_ed25519_key"
exec chroot "$root" /usr/sbin/sshd -D -e`;

export interface NodeSystemOptions {
  readonly name: string;
  readonly dir: string;
  readonly image: string;
  /** The first three numbers of a network of its own, which leads to it. */
  readonly link: string;
  /** Its pod's address. */
  readonly pod: string;
}

/** All of them, or nothing is left of any. */
export async function nodeSystems(all: readonly NodeSystemOptions[]): Promise<readonly NodeSystem[]> {
  const made = await Promise.allSettled(all.map(nodeSystem));
  const there = made.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failed = made.find((one) => one.status === "rejected");
  if (!failed) return there;
  await Promise.all(there.map((one) => one.remove()));
  throw failed.reason;
}

async function nodeSystem(options: NodeSystemOptions): Promise<NodeSystem> {
  const { name, image, link, pod } = options;
  const [host, address] = [`${link}.1`, `${link}.2`];
  const dir = join(options.dir, name);
  mkdirSync(join(dir, "system"), { recursive: true });
  const [key, own] = [await daemonKey(join(dir, "daemon")), await daemonKey(join(dir, "host"))];
  const hostKey = parseHostKey(own.publicKey);
  if (!hostKey) throw new Error(`no key: ${own.publicKey}`);

  const spaces = { node: `iw-${name}-${process.pid}`, pod: `iw-${name}-pod-${process.pid}` };
  const near = `${name}${process.pid % 100_000}`;
  const ip = (...args: string[]) => execFileSync("ip", args);
  const children: ChildProcess[] = [];
  const made: string[] = [];
  async function remove(): Promise<void> {
    // who only waits for what it runs does not heed SIGTERM
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => ended(child)));
    for (const space of made.splice(0)) ip("netns", "delete", space);
  }
  const start = (space: string, command: readonly string[]): ChildProcess => {
    const child = spawn("ip", ["netns", "exec", space, ...command], { stdio: ["ignore", "pipe", "pipe"] });
    children.push(child);
    return child;
  };
  const ssh = (as: Pick<DaemonKey, "privateKey"> = key) => connectSsh({ address, hostKey, key: as, signal: AbortSignal.timeout(20_000) });

  function connect(): void {
    for (const space of Object.values(spaces)) {
      ip("netns", "add", space);
      made.push(space);
      ip("-n", space, "link", "set", "lo", "up");
    }
    ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", spaces.node);
    ip("addr", "add", `${host}/30`, "dev", near);
    ip("link", "set", near, "up");
    ip("-n", spaces.node, "addr", "add", `${address}/30`, "dev", "eth0");
    ip("-n", spaces.node, "link", "set", "eth0", "up");
    ip("-n", spaces.node, "link", "add", "cni0", "type", "veth", "peer", "name", "eth0", "netns", spaces.pod);
    const gateway = pod.replace(/\d+$/, "1");
    ip("-n", spaces.node, "addr", "add", `${gateway}/24`, "dev", "cni0");
    ip("-n", spaces.node, "link", "set", "cni0", "up");
    ip("-n", spaces.pod, "addr", "add", `${pod}/24`, "dev", "eth0");
    ip("-n", spaces.pod, "link", "set", "eth0", "up");
  }

  async function boot(): Promise<void> {
    const unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];
    let said = "";
    const server = start(spaces.node, [
      ...[...unshare, "sh", "-euc", SYSTEM, "sh"],
      ...[image, join(dir, "system"), key.publicKey, own.privateKey.trim()],
    ]);
    server.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    (
      await eventually(`${name} takes SSH`, () =>
        ssh().catch((error: unknown) => {
          throw new Error(said, { cause: error });
        }),
      )
    ).close();
  }

  try {
    connect();
    await boot();
  } catch (error) {
    await remove();
    throw error;
  }

  const seen = new Map<string, number>();
  return {
    address,
    host,
    hostKey,
    ssh,
    stand: (where, all) => untilStanding(start(spaces[where], standingCommand(all)), seen),
    seen: (who) => seen.get(who) ?? 0,
    async sessions() {
      const { stdout } = await execute("ip", ["netns", "exec", spaces.node, "ss", "-Htn", "state", "established", "sport = :22"]);
      return stdout.split("\n").filter((line) => line !== "").length;
    },
    remove,
  };
}

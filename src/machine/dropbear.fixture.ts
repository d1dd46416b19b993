import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DaemonKey, daemonKey, type HostKey, parseHostKey } from "./ssh-key.ts";

/** A real dropbear on a loopback port of its own, in a mount namespace of its own: root's home and /run are the test's. */
export interface Dropbear {
  readonly port: number;
  readonly hostKey: HostKey;
  readonly key: DaemonKey;
  /** Of the test; the server sees it too. */
  readonly dir: string;
  /** Cuts every connection, as a lost network does. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startDropbear(): Promise<Dropbear> {
  const dir = mkdtempSync(join(tmpdir(), "iw-ssh-"));
  const key = await daemonKey(join(dir, "ssh"));
  const told = execFileSync("dropbearkey", ["-t", "ed25519", "-f", join(dir, "host_key")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const hostKey = parseHostKey(/^ssh-ed25519 \S+/m.exec(told)?.[0] ?? "");
  if (!hostKey) throw new Error(`dropbearkey made no key: ${told}`);
  writeFileSync(join(dir, "authorized_keys"), `${key.publicKey}\n`);
  const enter = `
    mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh && cp "$1/authorized_keys" /root/.ssh/
    mount --bind "$1/run" /run
    exec dropbear -i -s -r "$1/host_key" 2>> "$1/log"`;
  execFileSync("mkdir", ["-p", join(dir, "run")]);
  const children = new Set<ChildProcess>();
  const sockets = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    const child = spawn("unshare", ["--mount", "sh", "-c", enter, "sh", dir], { stdio: [socket, socket, "ignore"] });
    children.add(child);
    sockets.add(socket);
    child.on("exit", () => {
      children.delete(child);
      sockets.delete(socket);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    hostKey,
    key,
    dir,
    cut() {
      for (const child of children) child.kill("SIGKILL");
    },
    async stop() {
      for (const child of children) child.kill("SIGKILL");
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function logOf(dropbear: Dropbear): string {
  return readFileSync(join(dropbear.dir, "log"), "utf8");
}

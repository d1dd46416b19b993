import { connect as connectTcp } from "node:net";
import type { Duplex } from "node:stream";
import ssh2, { type ClientChannel } from "ssh2";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { type DaemonKey, type HostKey, hostKeyText } from "./ssh-key.ts";

export interface SshTarget {
  readonly address: string;
  readonly port?: number;
  /** The key the machine must show; another one ends the connection before anything is sent. */
  readonly hostKey: HostKey;
  readonly key: Pick<DaemonKey, "privateKey">;
  /** root by default. */
  readonly user?: string;
  readonly signal: AbortSignal;
}

export interface RunOptions {
  readonly stdin?: string | Buffer;
  /** Standard input stays open until nobody waits for the command any more, so that it can end itself then. */
  readonly holdInput?: boolean;
  readonly signal: AbortSignal;
  /** Lines of standard error as they come: what a step says of its progress. */
  onLine?(line: string): void;
}

export interface Outcome {
  /** Exit status; 128 and the signal's name (`SIGKILL`) in `signal` when it was killed. */
  readonly exit: number;
  readonly signal?: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A session with one machine. */
export interface Ssh {
  readonly address: string;
  /** False once the connection is lost. */
  readonly alive: boolean;
  /** @throws IRW_SSH when the connection breaks; the signal's reason when it aborts: the command's input ends */
  run(command: string, options: RunOptions): Promise<Outcome>;
  /** The file is whole or not there: written beside, then renamed. By `cat`, since not every server has sftp. */
  upload(content: string | Buffer, path: string, options: { readonly mode: string; readonly signal: AbortSignal }): Promise<void>;
  /** A connection from the machine to an address, as the machine sees the network. @throws IRW_SSH when it makes none */
  forward(address: string, port: number, signal: AbortSignal): Promise<Duplex>;
  close(): void;
}

/** What a command may say: more is a mistake, and would fill the daemon's memory. */
const OUTPUT_LIMIT = 4 * 1024 * 1024;
/** A first packet that was lost because the machine just starts is sent again after 1, 3, 7 … s (RFC 6298): a new try is quicker. */
const CONNECT_MS = 1_500;
const HANDSHAKE_MS = 20_000;
/** Of connections at a time. A server that never answers some of them would fill our memory; the gateway wants 256 for one tenant. */
const MOST_FORWARDED = 512;
const KEEPALIVE_MS = 5_000;
const KEEPALIVE_MISSES = 6;

/**
 * Connects with the key given, as root unless another user is named, to the pinned host key alone.
 * @throws IRW_SSH_HOST_KEY another key answered; IRW_SSH_REFUSED our key is not taken; IRW_SSH anything else
 */
export function connectSsh(target: SshTarget): Promise<Ssh> {
  const { address, port = 22, user = "root", signal } = target;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    let alive = false;
    let shown: string | undefined;
    const failed = (error: unknown) => {
      client.end();
      signal.removeEventListener("abort", aborted);
      reject(connectError(address, target.hostKey, shown, error));
    };
    const closed = () => failed(new Error("the connection was closed during the handshake"));
    const aborted = () => {
      client.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", aborted, { once: true });
    // ssh2 may emit a second error after the first, also after the session is ready, and an unheard one ends the process;
    // whoever runs a command hears of it through its channel
    client.on("error", () => {});
    client.once("error", failed);
    client.once("close", closed);
    client.once("ready", () => {
      alive = true;
      signal.removeEventListener("abort", aborted);
      client.off("error", failed);
      client.off("close", closed);
      client.on("close", () => {
        alive = false;
      });
      resolve(session(client, address, () => alive));
    });
    const socket = connectTcp({ host: address, port, noDelay: true });
    socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error(`no connection within ${CONNECT_MS / 1_000} s`)));
    socket.once("connect", () => socket.setTimeout(0));
    client.connect({
      sock: socket,
      username: user,
      privateKey: target.key.privateKey,
      authHandler: ["publickey"],
      algorithms: { serverHostKey: ["ssh-ed25519"] },
      hostVerifier: (wire: Buffer) => {
        shown = hostKeyText(wire);
        return shown === target.hostKey;
      },
      readyTimeout: HANDSHAKE_MS,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: KEEPALIVE_MISSES,
    });
  });
}

function connectError(address: string, want: string, shown: string | undefined, error: unknown): IronwrightError {
  if (shown !== undefined && shown !== want) return new IronwrightError("IRW_SSH_HOST_KEY", { address, want, got: shown });
  const level = (error as { level?: string }).level;
  if (level === "client-authentication") return new IronwrightError("IRW_SSH_REFUSED", { address }, error);
  return new IronwrightError("IRW_SSH", { address, reason: reasonOf(error) }, error);
}

function session(client: ssh2.Client, address: string, alive: () => boolean): Ssh {
  const ssh: Ssh = {
    address,
    get alive() {
      return alive();
    },
    run: (command, options) => run(client, address, alive, command, options),
    async upload(content, path, { mode, signal }) {
      const temporary = quote(`${path}.new`);
      const command = `umask 077 && cat > ${temporary} && chmod ${quote(mode)} ${temporary} && mv ${temporary} ${quote(path)}`;
      const { exit, stderr } = await ssh.run(command, { stdin: content, signal });
      if (exit !== 0) throw new IronwrightError("IRW_SSH", { address, reason: `writing ${path}: ${stderr.trim()}` });
    },
    forward: forwarding(client, address, alive),
    close() {
      // not end(): it waits for the other side, which may have been powered off, and would keep the process for minutes
      client.destroy();
    },
  };
  return ssh;
}

function run(client: ssh2.Client, address: string, alive: () => boolean, command: string, options: RunOptions): Promise<Outcome> {
  const { signal } = options;
  const broken = (reason: string) => new IronwrightError("IRW_SSH", { address, reason });
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    if (!alive()) return reject(broken("the connection is closed"));
    client.exec(command, (error, channel) => {
      if (error) return reject(broken(reasonOf(error)));
      let ended: { exit: number; signal?: string } | undefined;
      const stop = () => {
        channel.close();
        reject(signal.reason);
      };
      signal.addEventListener("abort", stop, { once: true });
      const stdout = collect(channel, () => overflow());
      const stderr = collect(channel.stderr, () => overflow(), options.onLine);
      function overflow() {
        channel.close();
        reject(broken(`the command wrote more than ${OUTPUT_LIMIT} bytes`));
      }
      channel.on("exit", (code: number | null, name?: string) => {
        ended = code === null ? { exit: 128, ...(name ? { signal: name } : {}) } : { exit: code };
      });
      channel.on("close", () => {
        signal.removeEventListener("abort", stop);
        if (ended) resolve({ ...ended, stdout: stdout(), stderr: stderr() });
        else reject(broken("the connection was lost while a command ran"));
      });
      channel.on("error", () => {});
      if (options.holdInput) channel.write(options.stdin ?? "");
      else channel.end(options.stdin ?? "");
    });
  });
}

/** The session ends when its server has left too many connections unanswered, or unclosed: the next one begins with none. */
function forwarding(client: ssh2.Client, address: string, alive: () => boolean): Ssh["forward"] {
  const broken = (reason: string) => new IronwrightError("IRW_SSH", { address, reason });
  let asked = 0;
  const made = new Set<ClientChannel>();
  return (to, port, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (!alive()) return reject(broken("the connection is closed"));
      for (const channel of made) if (isOver(channel)) made.delete(channel);
      if (asked + made.size >= MOST_FORWARDED) {
        client.destroy();
        return reject(broken(`${MOST_FORWARDED} connections wait for it`));
      }
      const aborted = () => reject(signal.reason);
      signal.addEventListener("abort", aborted, { once: true });
      // where the connection comes from is the machine's to say; RFC 4254 §7.2 wants something
      client.forwardOut("127.0.0.1", 0, to, port, (error, channel) => {
        asked -= 1;
        signal.removeEventListener("abort", aborted);
        if (error) return reject(broken(`forwarding to ${to}:${port}: ${reasonOf(error)}`));
        made.add(channel);
        channel.on("error", () => {});
        if (signal.aborted) return void channel.destroy();
        resolve(channel);
      });
      asked += 1;
    });
}

/** Whether the server closed it too. ssh2 emits `close` only to who reads to the end, and who hung up does not. */
function isOver({ incoming }: ClientChannel): boolean {
  return (incoming as { readonly state?: string }).state === "closed";
}

/** Gathers a stream up to the limit. */
function collect(stream: ClientChannel | ClientChannel["stderr"], overflow: () => void, onLine?: (line: string) => void): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  let rest = "";
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > OUTPUT_LIMIT) return overflow();
    chunks.push(chunk);
    if (!onLine) return;
    const lines = (rest + chunk.toString("utf8")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

/** One word for a POSIX shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

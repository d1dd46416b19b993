import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { IronwrightError } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { fitsSocket, LONGEST_SOCKET_PATH } from "../core/unix-socket.ts";
import { type ChildSpec, freePort, type issue, type KeyedCertificate, needsRenewal, type Supervisor } from "../supervise/index.ts";
import { BELIEVE_MS } from "./certificates.ts";
import type { DatastoreAccess } from "./datastore.ts";
import { connectEtcd, type Etcd, type EtcdOptions, type KeyRange, type Permission } from "./etcd.ts";
import { checkVersion } from "./etcd-version.ts";
import { makePrivate, readText, writePrivate } from "./files.ts";
import { clockAgainst, isCurrent, issueOf, type ShardAuthority, shardAuthority } from "./shard-authority.ts";

export interface ShardOptions {
  /** Also the name of its child. */
  readonly name: string;
  readonly dir: string;
  readonly etcdPath: string;
  readonly quotaBytes: number;
  readonly supervisor: Supervisor;
  readonly now: () => Date;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
}

/** One etcd, and the tenants let into it. */
export interface Shard {
  /** Runs, answers, and lets nobody in without a name. Idempotent. */
  start(signal: AbortSignal): Promise<Etcd>;
  /** Gives the tenant its range; one that was stopped from writing stays so. Idempotent. */
  admit(id: string, signal: AbortSignal): Promise<DatastoreAccess>;
  certificate(id: string, days: number): Promise<KeyedCertificate>;
  /** Whether etcd takes writes of the tenant: its role says it, so it outlives us. */
  mayWrite(id: string, signal: AbortSignal): Promise<boolean>;
  setMayWrite(id: string, may: boolean, signal: AbortSignal): Promise<void>;
  /** @throws IRW_TENANT_LEFTOVER */
  remove(id: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
  /** Ends its process and removes all it had. */
  destroy(): Promise<void>;
}

const LEAF_DAYS = 90;
const READY_TIMEOUT_MS = 60_000;
/** Of etcd's own compaction, which stands in where no daemon compacts: see upkeep.ts. */
const COMPACTION = "1h";
/** Within the shard's directory; relative, since the path of a Unix socket holds 107 bytes. */
const SOCKET = "socket/client.sock";
/**
 * Of the JSON gateway, for us alone. Where etcd serves it by the same listener as gRPC, both go through net/http, which is slower,
 * keeps more for each connection, and lets watches starve (etcd's issue 15402).
 */
const ADMIN_SOCKET = "admin.sock";

/**
 * One etcd that many tenants share, apart by key prefix and user. It runs under the supervisor; what it must not lose
 * (its authority, root's password, its port) stands beside its data, readable by us alone.
 */
export function etcdShard(options: ShardOptions): Shard {
  const { name, dir, supervisor, log, random } = options;
  let running: Promise<{ readonly etcd: Etcd; readonly endpoint: string; readonly certificate: string }> | undefined;

  /** One look at a time, for a look may make the next one. */
  const looking = turns();
  function authority(): Promise<ShardAuthority> {
    return looking(async () => shardAuthority(dir, `ironwright ${name}`, options.now(), await clockIsGood()));
  }

  /** By time that no clock's leap touches. */
  let doubtedAt: number | undefined;
  async function clockIsGood(): Promise<boolean> {
    const certificate = await readText(join(dir, "server.crt"));
    const against = certificate && clockAgainst(certificate, options.now());
    if (against !== "ahead") doubtedAt = undefined;
    if (!against) return true;
    doubtedAt ??= performance.now();
    const believed = against === "ahead" && performance.now() - doubtedAt > BELIEVE_MS;
    if (!believed) log.warn({ shard: name, now: options.now().toISOString(), clock: against }, "the clock is in doubt: nothing is issued");
    return believed;
  }

  async function leaf(file: string, ca: ShardAuthority, request: Omit<Parameters<typeof issue>[0], "ca" | "days">): Promise<void> {
    const certificate = await readText(join(dir, `${file}.crt`));
    const whole = certificate && (await readText(join(dir, `${file}.pem`)));
    if (whole && (isCurrent(certificate, ca, options.now()) || !(await clockIsGood()))) return;
    const fresh = await issueOf(ca, { days: LEAF_DAYS, now: options.now(), ...request });
    // in one file for etcd, which reads it at each connection: of two it would see one new and one old
    await writePrivate(join(dir, `${file}.pem`), fresh.certificate + fresh.key);
    await writePrivate(join(dir, `${file}.key`), fresh.key);
    await writePrivate(join(dir, `${file}.crt`), fresh.certificate);
  }

  async function once(file: string, make: () => Promise<string> | string): Promise<string> {
    const path = join(dir, file);
    const before = await readText(path);
    if (before) return before;
    const value = await make();
    await writePrivate(path, value);
    return value;
  }

  async function prepare() {
    const admin = join(dir, ADMIN_SOCKET);
    if (!fitsSocket(admin)) {
      const reason = `${admin} is longer than the ${LONGEST_SOCKET_PATH} bytes of a socket's path; choose a shorter dataDir`;
      throw new IronwrightError("IRW_DATASTORE", { endpoint: name, reason });
    }
    await makePrivate(dir);
    await mkdir(join(dir, dirname(SOCKET)), { recursive: true });
    await chmod(join(dir, dirname(SOCKET)), 0o755);
    const ca = await authority();
    // the gateway calls its own etcd with this certificate, hence both usages; it must not name a user
    await leaf("server", ca, { commonName: `${name}-server`, sans: ["127.0.0.1", "localhost"], usages: ["server", "client"] });
    // the gateway refuses a client whose certificate has a common name, once authentication is on
    await leaf("daemon", ca, { commonName: "", usages: ["client"] });
    await once("root-password", () => random(32).toString("base64url"));
    const port = Number(await once("port", async () => String(await freePort())));
    return { endpoint: endpointAt(port) };
  }

  async function start(signal: AbortSignal) {
    const { endpoint } = await prepare();
    await supervisor.ensure(childOf(options, endpoint));
    await supervisor.waitReady(name, { timeoutMs: READY_TIMEOUT_MS, signal });
    const access = shardEtcd(dir);
    const etcd = connectEtcd(access);
    try {
      checkVersion((await etcd.secure()).version);
    } catch (error) {
      await etcd.close();
      throw error;
    }
    log.info({ shard: name, endpoint }, "the tenants' datastore answers");
    return { etcd, endpoint, certificate: access.tls.cert };
  }

  async function current(signal: AbortSignal) {
    const before = await running?.catch(() => undefined);
    if (before && !needsRenewal(before.certificate, options.now())) {
      await supervisor.ensure(childOf(options, before.endpoint));
      await sayWhyItEnded(before.endpoint);
      return before;
    }
    await before?.etcd.close();
    running = start(signal);
    return running;
  }

  /** Nobody's call would: it is refused, or hangs. @throws IRW_DATASTORE while it waits to be started again */
  async function sayWhyItEnded(endpoint: string): Promise<void> {
    const [child] = await supervisor.list([name]);
    if (child?.state !== "backing-off") return;
    const reason = [child.reason ?? "it ended", ...(child.lastLog ? [`its last lines:\n${child.lastLog}`] : [])].join("; ");
    throw new IronwrightError("IRW_DATASTORE", { endpoint, reason });
  }

  /** One start at a time: tenants are reconciled side by side. */
  const starting = turns();
  function started(signal: AbortSignal): ReturnType<typeof start> {
    return starting(() => current(signal));
  }

  async function close(): Promise<void> {
    const before = await running?.catch(() => undefined);
    running = undefined;
    await before?.etcd.close();
  }

  return {
    start: async (signal) => (await started(signal)).etcd,

    async admit(id, signal) {
      const { etcd, endpoint } = await started(signal);
      const stopped = isStopped(await etcd.permissionsOf(id), id);
      await etcd.ensureUser(id, permissionsOf(id, !stopped));
      return { endpoint, socket: join(dir, SOCKET), prefix: `/${id}`, ca: (await authority()).trust };
    },

    async certificate(id, days) {
      return issueOf(await authority(), { commonName: id, usages: ["client"], days, now: options.now() });
    },

    async mayWrite(id, signal) {
      const { etcd } = await started(signal);
      return !isStopped(await etcd.permissionsOf(id), id);
    },

    async setMayWrite(id, may, signal) {
      const { etcd } = await started(signal);
      await etcd.ensureUser(id, permissionsOf(id, may));
    },

    async remove(id, signal) {
      const { etcd } = await started(signal);
      // the right to write goes first: a process that should be dead and is not can put nothing back
      await etcd.removeUser(id);
      await etcd.deleteRange(rangeOf(id));
      const keys = await etcd.count(rangeOf(id));
      if (keys > 0) throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: id, what: `${keys} keys in the datastore` });
      if (await etcd.hasUserOrRole(id)) throw new IronwrightError("IRW_TENANT_LEFTOVER", { tenant: id, what: "its datastore user" });
    },

    close,

    async destroy() {
      await close();
      await supervisor.remove(name);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** How root comes to a shard's etcd, by what stands in the shard's directory. */
export function shardEtcd(dir: string): EtcdOptions {
  const read = (file: string) => readFileSync(join(dir, file), "utf8");
  const adminSocket = join(dir, ADMIN_SOCKET);
  return {
    endpoint: endpointAt(Number(read("port"))),
    // one that was started by an older version serves all by its port
    ...(existsSync(adminSocket) ? { adminSocket } : {}),
    tls: { ca: read("ca-bundle.crt"), cert: read("daemon.crt"), key: read("daemon.key") },
    rootPassword: read("root-password"),
  };
}

function endpointAt(port: number): string {
  return `https://127.0.0.1:${port}`;
}

function isStopped(have: readonly Permission[] | undefined, id: string): boolean {
  const { first } = rangeOf(id);
  return have?.find((one) => one.first === first)?.kind === "READ";
}

/** The tenant's keys: half open, since an open end reaches into the neighbours' (CVE-2024-42480). `0` follows `/` in ASCII. */
export function rangeOf(uid: string): KeyRange {
  return { first: `/${uid}/`, end: `/${uid}0` };
}

/**
 * The tenant's range, and to read one key that nobody writes: each apiserver asks every second how far etcd was
 * compacted, by upstream's key outside every prefix, and complains when it may not.
 */
export function permissionsOf(uid: string, mayWrite = true): readonly Permission[] {
  const { first, end } = rangeOf(uid);
  return [
    { kind: mayWrite ? "READWRITE" : "READ", first, end },
    { kind: "READ", first: "compact_rev_key" },
  ];
}

function childOf({ name, dir, etcdPath, quotaBytes }: ShardOptions, endpoint: string): ChildSpec {
  const pki = (file: string) => join(dir, file);
  return {
    name,
    command: [
      // whoever sees the socket may connect, and is let in by certificate alone; etcd gives its own files their modes
      "/bin/sh",
      "-c",
      'umask 0 && exec "$@"',
      name,
      etcdPath,
      `--name=${name}`,
      `--data-dir=${join(dir, "data")}`,
      `--listen-client-urls=${endpoint},unixs://${SOCKET}`,
      `--listen-client-http-urls=unixs://${ADMIN_SOCKET}`,
      `--advertise-client-urls=${endpoint}`,
      // it has no peers: a socket in a directory of ours is a door nobody can knock on
      "--listen-peer-urls=unix://peer:0",
      "--initial-advertise-peer-urls=unix://peer:0",
      `--initial-cluster=${name}=unix://peer:0`,
      `--cert-file=${pki("server.pem")}`,
      `--key-file=${pki("server.pem")}`,
      `--trusted-ca-file=${pki("ca-bundle.crt")}`,
      "--client-cert-auth",
      "--tls-min-version=TLS1.3",
      "--auto-compaction-mode=periodic",
      `--auto-compaction-retention=${COMPACTION}`,
      `--quota-backend-bytes=${quotaBytes}`,
      // root's password is 32 random bytes: a slow hash only lets whoever asks to log in burn our CPU
      "--bcrypt-cost=4",
      "--watch-progress-notify-interval=5s",
      // what a member that fell behind would need is kept in memory, and there is no other member
      "--snapshot-count=1000",
      "--snapshot-catchup-entries=100",
      "--log-level=warn",
    ],
    cwd: dir,
    // after a tenant fell asleep, what it had here is garbage. A tenant that wakes opens sixty connections, by a socket that nobody
    // listens in on: a key exchange for the time after quantum computers costs a third of each
    env: { GOGC: "50", GODEBUG: "tlsmlkem=0" },
    logFile: join(dir, "etcd.log"),
    ready: {
      http: {
        url: "https://localhost/health",
        socketPath: pki(ADMIN_SOCKET),
        caFile: pki("ca-bundle.crt"),
        certFile: pki("daemon.crt"),
        keyFile: pki("daemon.key"),
      },
    },
    stopTimeoutS: 20,
  };
}

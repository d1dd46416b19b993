import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { takeLock } from "../supervise/index.ts";
import { connectEtcd, type EtcdOptions, shardEtcd } from "../tenant/index.ts";
import type { Lock } from "./age-header.ts";
import { type Datastore, type Manifest, type Source, writeArchive } from "./archive.ts";
import { dumpEtcd } from "./content.ts";
import { copyContents, partName } from "./contents.ts";
import { hostOf } from "./host-id.ts";

export interface BackupOptions {
  readonly dataDir: string;
  /** A directory, where it gets a name by host and time; or a file that is not there yet. */
  readonly to: string;
  readonly lock: Lock;
  /** Tenants' datastores and credentials as well. */
  readonly tenants: boolean;
  /** The effective configuration, secrets left out: for whoever sets up the next machine. */
  readonly config: unknown;
  readonly versions: { readonly ironwright: string; readonly kubernetes: string };
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
}

export interface Backup {
  readonly file: string;
  readonly bytes: number;
  readonly ms: number;
  readonly manifest: Manifest;
}

const SUFFIX = ".age";
/** Of what was left out: a tenant may have made any number. */
const NAMED = 20;

/**
 * Writes one file with all that this host's control plane would be lost without. Everything goes on meanwhile. The control plane is
 * read first, and what is beside it after: what began in between is then seen to be ahead, and not missed.
 * @throws IRW_BACKUP_BUSY, IRW_BACKUP_FAILED
 */
export async function takeBackup(options: BackupOptions): Promise<Backup> {
  const { dataDir, clock } = options;
  const lockFile = join(dataDir, "run", "backup.lock");
  const held = takeLock(lockFile);
  if (!held) throw new IronwrightError("IRW_BACKUP_BUSY", { lock: lockFile });
  const scratch = join(dataDir, "run", "backup");
  let file = options.to;
  try {
    // what one that was killed left
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(scratch, { recursive: true, mode: 0o700 });
    const began = clock.now();
    const host = hostOf(dataDir, options.random);
    file = fileFor(options.to, host, began);
    const manifest = await write(options, scratch, file, host, began);
    return { file, bytes: statSync(file).size, ms: clock.now().getTime() - began.getTime(), manifest };
  } catch (error) {
    if (error instanceof IronwrightError && error.code.startsWith("IRW_BACKUP")) throw error;
    throw new IronwrightError("IRW_BACKUP_FAILED", { file, reason: reasonOf(error) }, error);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    held.release();
  }
}

async function write(options: BackupOptions, scratch: string, file: string, host: string, began: Date): Promise<Manifest> {
  const { dataDir, log } = options;
  const sources: Source[] = [];
  const content = async (name: string, etcd: EtcdOptions): Promise<Datastore> => {
    const path = join(scratch, `${name.replaceAll("/", "-")}.content`);
    const dumped = await dump(etcd, path);
    sources.push({ name: `content/${name}`, path });
    return { name: basename(name), ...dumped };
  };
  const own = hostEtcd(dataDir);
  const etcd = own && (await content("host", own));
  const shards: Datastore[] = [];
  if (options.tenants) for (const shard of shardsOf(dataDir)) shards.push(await content(`shards/${shard.name}`, shard.etcd));
  const copied = await copyContents(dataDir, join(scratch, "data"), options);
  if (copied.skipped.length > 0)
    log.warn({ files: copied.skipped.slice(0, NAMED), all: copied.skipped.length }, "left out of the backup: no state of ours");
  for (const name of copied.files) sources.push({ name: partName(name), path: join(scratch, "data", name) });
  const config = join(scratch, "config.json");
  writeFileSync(config, `${JSON.stringify(options.config, null, 2)}\n`, { mode: 0o600 });
  sources.push({ name: "config.json", path: config });

  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (isThere(file)) throw new Error("there is such a file already, and it is not overwritten");
  const unfinished = `${file}.part`;
  try {
    rmSync(unfinished, { force: true });
    const about = {
      version: options.versions.ironwright,
      kubernetes: options.versions.kubernetes,
      takenAt: began.toISOString(),
      host,
      ...(etcd ? { etcd } : {}),
      shards,
    };
    const manifest = await writeArchive(unfinished, about, sources, options.lock, options.random);
    renameSync(unfinished, file);
    const directory = openSync(dirname(file), "r");
    fsyncSync(directory);
    closeSync(directory);
    return manifest;
  } finally {
    rmSync(unfinished, { force: true });
  }
}

async function dump(options: EtcdOptions, path: string): Promise<{ revision: string; keys: number; version: string }> {
  const etcd = connectEtcd(options);
  try {
    const { version } = await etcd.call("maintenance/status", {});
    return { ...(await dumpEtcd(etcd, path)), version: String(version) };
  } finally {
    await etcd.close();
  }
}

/** The host's etcd, unless the host control plane is somebody else's. */
function hostEtcd(dataDir: string): EtcdOptions | undefined {
  const pki = (name: string) => readFileSync(join(dataDir, "pki", "host", name), "utf8");
  if (!isThere(join(dataDir, "host", "etcd"))) return undefined;
  const { etcd } = JSON.parse(readFileSync(join(dataDir, "host", "ports.json"), "utf8")) as { etcd: number };
  return {
    endpoint: `https://127.0.0.1:${etcd}`,
    tls: { ca: pki("etcd-ca.crt"), cert: pki("etcd-client.crt"), key: pki("etcd-client.key") },
  };
}

function shardsOf(dataDir: string): readonly { name: string; etcd: EtcdOptions }[] {
  const root = join(dataDir, "datastore");
  if (!isThere(root)) return [];
  return readdirSync(root)
    .sort()
    .filter((name) => isThere(join(root, name, "data")))
    .map((name) => ({ name, etcd: shardEtcd(join(root, name)) }));
}

function fileFor(to: string, host: string, at: Date): string {
  const isDirectory = to.endsWith("/") || (isThere(to) && statSync(to).isDirectory());
  if (!isDirectory) return to;
  const time = at.toISOString().replace(/[-:]|\.\d+/g, "");
  return join(to, `${prefixOf(host)}${time}${SUFFIX}`);
}

function prefixOf(host: string): string {
  return `ironwright-${host.slice(0, 8)}-`;
}

/** Removes all but the newest of this host's backups in a directory, by their names. @returns what was removed */
export function prune(directory: string, host: string, keep: number): readonly string[] {
  const old = backupsIn(directory, host).slice(0, -keep);
  for (const name of old) rmSync(join(directory, name), { force: true });
  return old;
}

/** This host's backups in a directory, oldest first. */
export function backupsIn(directory: string, host: string): readonly string[] {
  if (!isThere(directory)) return [];
  const prefix = prefixOf(host);
  return readdirSync(directory)
    .filter((name) => name.startsWith(prefix) && /^\d{8}T\d{6}Z\.age$/.test(name.slice(prefix.length)))
    .sort();
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

import { closeSync, createReadStream, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import type { Unlock } from "./age-header.ts";
import { type Manifest, unpackArchive } from "./archive.ts";
import { belongs } from "./contents.ts";
import { restoreEtcd } from "./etcd-restore.ts";
import { writeRestored } from "./restored.ts";
import { UNFINISHED } from "./unfinished.ts";

export interface RestoreOptions {
  readonly file: string;
  /** A directory that is empty or not there. */
  readonly into: string;
  readonly unlock: Unlock;
  /** Directory with the executable etcd. */
  readonly kubeBin: string;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
}

export interface Restore {
  readonly manifest: Manifest;
  readonly id: string;
  readonly ms: number;
}

/**
 * Makes a data directory from a backup, offline. Everything is read, checked and made beside, and put in place at the end: a refusal
 * leaves the directory as it was. @throws IRW_RESTORE_TARGET, IRW_BACKUP_ARCHIVE, IRW_BACKUP_KEY, IRW_RESTORE_FAILED
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restore> {
  const { file, into, clock } = options;
  const began = clock.now().getTime();
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new IronwrightError("IRW_BACKUP_ARCHIVE", { file, reason: "there is no such file" });
  const isOurs = claimDirectory(into);
  const beside = join(into, UNFINISHED);
  try {
    mkdirSync(beside, { mode: 0o700 });
    const unpacked = join(beside, "unpacked");
    const manifest = await unpackArchive(file, createReadStream(file), options.unlock, unpacked);
    const stranger = manifest.parts.find(({ name }) => !isExpected(name, manifest));
    if (stranger) throw new IronwrightError("IRW_BACKUP_ARCHIVE", { file, reason: `${stranger.name} is nothing a backup holds` });
    const data = join(unpacked, "data");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    await restoreDatastores(options, manifest, unpacked);
    const id = options.random(6).toString("hex");
    writeRestored(data, {
      id,
      takenAt: manifest.takenAt,
      restoredAt: clock.now().toISOString(),
      state: manifest.etcd !== undefined,
      handled: false,
    });
    for (const name of readdirSync(data)) renameSync(join(data, name), join(into, name));
    sync(into);
    rmSync(beside, { recursive: true, force: true });
    sync(into);
    return { manifest, id, ms: clock.now().getTime() - began };
  } catch (error) {
    for (const name of readdirSync(into)) rmSync(join(into, name), { recursive: true, force: true });
    if (isOurs) rmdirSync(into);
    if (error instanceof IronwrightError) throw error;
    throw new IronwrightError("IRW_RESTORE_FAILED", { what: file, reason: reasonOf(error) }, error);
  }
}

/** @returns whether it was made here */
function claimDirectory(into: string): boolean {
  const refuse = (reason: string) => new IronwrightError("IRW_RESTORE_TARGET", { directory: into, reason });
  const found = statSync(into, { throwIfNoEntry: false });
  if (!found) {
    mkdirSync(into, { recursive: true, mode: 0o700 });
    return true;
  }
  if (!found.isDirectory()) throw refuse("it is no directory");
  const names = readdirSync(into);
  if (names.includes(UNFINISHED)) throw refuse("an earlier restore was broken off there; remove what it left");
  // a file system of its own has it from the beginning
  if (names.some((name) => name !== "lost+found"))
    throw refuse(`it is not empty (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})`);
  if (names.length > 0) throw refuse("it is the root of a file system; name a directory in it");
  return false;
}

function isExpected(name: string, manifest: Manifest): boolean {
  if (name === "config.json") return true;
  if (name === "content/host") return manifest.etcd !== undefined;
  if (name.startsWith("content/shards/")) return manifest.shards.some((shard) => name === `content/shards/${shard.name}`);
  return name.startsWith("data/") && belongs(name.slice("data/".length));
}

async function restoreDatastores(options: RestoreOptions, manifest: Manifest, unpacked: string): Promise<void> {
  const { kubeBin, clock, log } = options;
  const parts = new Set(manifest.parts.map((part) => part.name));
  const stores = [
    ...(manifest.etcd ? [{ about: manifest.etcd, content: "content/host", into: join("host", "etcd") }] : []),
    ...manifest.shards.map((about) => ({ about, content: `content/shards/${about.name}`, into: join("datastore", about.name, "data") })),
  ];
  for (const { about, content, into } of stores) {
    if (!parts.has(content)) throw new IronwrightError("IRW_BACKUP_ARCHIVE", { file: options.file, reason: `${content} is missing` });
    const scratch = join(unpacked, "scratch", about.name);
    mkdirSync(scratch, { recursive: true, mode: 0o700 });
    const { keys, revision } = await restoreEtcd({
      etcdPath: join(kubeBin, "etcd"),
      member: about.name,
      dataDir: join(unpacked, "data", into),
      scratch,
      content: join(unpacked, content),
      revision: BigInt(about.revision),
      clock,
    });
    if (keys !== about.keys)
      throw new IronwrightError("IRW_BACKUP_ARCHIVE", { file: options.file, reason: `${content} holds ${keys} keys of ${about.keys}` });
    log.info({ datastore: about.name, keys, from: about.revision, revision: String(revision) }, "a datastore is restored");
  }
}

function sync(directory: string): void {
  const fd = openSync(directory, "r");
  fsyncSync(fd);
  closeSync(fd);
}

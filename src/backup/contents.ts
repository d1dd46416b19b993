import { closeSync, createReadStream, createWriteStream, fstatSync, lstatSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { pipeline } from "node:stream/promises";
import { isPartName } from "./archive.ts";
import { type Allowance, openFiles, unlimited } from "./open-files.ts";

/**
 * What a data directory holds that cannot be made anew. Redis is work in progress and comes back from the control plane; images,
 * logs, sockets and what the supervisor runs are this machine's.
 */
const TREES = ["pki", "ssh", "boot-pki", "host", "datastore", "tenants"] as const;
const OF_TENANTS: ReadonlySet<string> = new Set(["datastore", "tenants"]);
/** Data of an etcd goes by its content; logs are no state. */
const LEFT_OUT = /^(host\/etcd|datastore\/[^/]+\/data)(\/|$)|\.(log|sock|new|part)$|(^|\/)logs(\/|$)|(^|\/)\./;
/** What a tenant's own processes may write is no state of ours, and holds whatever the tenant likes. */
const OF_PROCESSES = /^tenants\/[^/]+\/(audit|door|egress|log|outside|run)$/;
const SQLITE = ["boot.sqlite", "attempts.sqlite"] as const;
const LEASES = "leases";
/** State beside a control plane is certificates and settings; what is larger is not state that we know. */
const MOST_BYTES = 16 << 20;
/** A tenant's home holds some thirty files of a few kilobytes. */
const MOST_OF_A_TENANT = { entries: 1_000, bytes: 32 << 20, depth: 4 } as const;

export interface Copied {
  /** Names below the data directory. */
  readonly files: readonly string[];
  /** Left out, and why: somebody should hear of it. */
  readonly skipped: readonly Skipped[];
}

export interface Skipped {
  readonly name: string;
  readonly why: string;
}

/** Whether a name below the data directory is one that a backup may bring back. */
export function belongs(name: string): boolean {
  if (SQLITE.some((one) => one === name)) return true;
  if (/^leases\/\d{1,15}\.(log|base)$/.test(name)) return true;
  return TREES.some((tree) => name.startsWith(`${tree}/`)) && !LEFT_OUT.test(name);
}

/**
 * Copies certificates, keys, settings, the boot plane's memory and the leases, while all of them are in use. What is below a
 * tenant's home is never a reason to fail: it is left out, and said.
 */
export async function copyContents(dataDir: string, into: string, options: { readonly tenants: boolean }): Promise<Copied> {
  const files: string[] = [];
  const skipped: Skipped[] = [];
  const copyTree = async (tree: string, allowance: Allowance, refuse: (one: Skipped) => void) => {
    for (const found of openFiles(dataDir, tree, (name) => !LEFT_OUT.test(name) && !OF_PROCESSES.test(name), allowance)) {
      const { name } = found;
      if ("why" in found) refuse(found);
      else if (!belongs(name)) continue;
      else if (!isPartName(partName(name))) refuse({ name, why: "it is no name of ours" });
      else if (found.size > MOST_BYTES) skipped.push({ name, why: "it is too large to be state of ours" });
      else if (found.size > allowance.bytes) refuse({ name, why: "there is more beside it than a tenant's state is" });
      else {
        allowance.bytes -= found.size;
        await copyBytes(found.fd, join(into, name), found.size);
        files.push(name);
      }
    }
  };
  for (const tree of TREES) if (!OF_TENANTS.has(tree) || (tree === "datastore" && options.tenants)) await copyTree(tree, unlimited(), fail);
  if (options.tenants) for (const home of homesIn(dataDir)) await copyTree(home, { ...MOST_OF_A_TENANT }, (one) => void skipped.push(one));
  for (const name of SQLITE) if (await copySqlite(join(dataDir, name), join(into, name))) files.push(name);
  for (const name of await copyLeases(join(dataDir, LEASES), join(into, LEASES))) files.push(`${LEASES}/${name}`);
  return { files, skipped };
}

/** In a tree that only we write, what cannot be taken along is a backup that is not whole. */
function fail({ name, why }: Skipped): never {
  throw new Error(`${JSON.stringify(name)} in the data directory: ${why}`);
}

function homesIn(dataDir: string): readonly string[] {
  try {
    const homes = readdirSync(join(dataDir, "tenants")).sort();
    return homes.map((home) => `tenants/${home}`).filter((home) => !LEFT_OUT.test(home));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Of a file of the data directory, in the archive. */
export function partName(name: string): string {
  return `data/${name}`;
}

/** The file is open, and stays so: it is the reader's to close. */
async function copyBytes(fd: number, to: string, length: number, flags: "w" | "wx" = "wx"): Promise<void> {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  const out = createWriteStream(to, { flags, mode: 0o600 });
  if (length === 0) return void (await pipeline([Buffer.alloc(0)], out));
  await pipeline(createReadStream("", { fd, start: 0, end: length - 1, autoClose: false }), out);
}

/** SQLite's own online copy: one state of the database, its log included. */
async function copySqlite(from: string, to: string): Promise<boolean> {
  try {
    if (!lstatSync(from).isFile()) return false;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  const source = new DatabaseSync(from, { readOnly: true, timeout: 10_000 });
  try {
    closeSync(openSync(to, "wx", 0o600));
    await backup(source, to);
    return true;
  } finally {
    source.close();
  }
}

const TRIES = 5;

/**
 * The lease log as of one moment, while it is written. Files only grow or go. The newest first: once log N+1 holds anything, log N
 * holds all it ever will, so that nothing is missing between what is read of them.
 */
async function copyLeases(from: string, to: string): Promise<readonly string[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await copyLeasesOnce(from, join(to));
    } catch (error) {
      // a compaction removed one of them
      if (!isGone(error) || tries >= TRIES) throw error;
    }
  }
}

async function copyLeasesOnce(from: string, to: string): Promise<readonly string[]> {
  let names: string[];
  try {
    names = readdirSync(from).filter((name) => /^\d{1,15}\.(log|base)$/.test(name));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
  const generation = (name: string) => Number.parseInt(name, 10);
  // all of them are held open from here on: one that is removed meanwhile is read to its end
  const held: { name: string; fd: number }[] = [];
  try {
    for (const name of names.sort((a, b) => generation(b) - generation(a) || (a.endsWith(".log") ? -1 : 1)))
      held.push({ name, fd: openSync(join(from, name), "r") });
    for (const { name, fd } of held) {
      const { size } = fstatSync(fd);
      await copyBytes(fd, join(to, name), size, "w");
    }
    return names;
  } finally {
    for (const { fd } of held) closeSync(fd);
  }
}

function isGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

import { closeSync, constants, createReadStream, createWriteStream, fstatSync, lstatSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { pipeline } from "node:stream/promises";

/**
 * What a data directory holds that cannot be made anew. Redis is work in progress and comes back from the control plane; images,
 * logs, sockets and what the supervisor runs are this machine's.
 */
const TREES = ["pki", "ssh", "boot-pki", "host", "datastore", "tenants"] as const;
const OF_TENANTS: ReadonlySet<string> = new Set(["datastore", "tenants"]);
/** Data of an etcd goes by its content; logs are no state. */
const LEFT_OUT = /^(host\/etcd|datastore\/[^/]+\/data)(\/|$)|\.(log|sock|new|part)$|(^|\/)logs(\/|$)|(^|\/)\./;
const SQLITE = ["boot.sqlite", "attempts.sqlite"] as const;
const LEASES = "leases";
/** State beside a control plane is certificates and settings; what is larger is not state that we know. */
const MOST_BYTES = 16 << 20;

export interface Copied {
  /** Names below the data directory. */
  readonly files: readonly string[];
  /** Left out for their size: somebody should hear of it. */
  readonly skipped: readonly string[];
}

/** Whether a name below the data directory is one that a backup may bring back. */
export function belongs(name: string): boolean {
  if (SQLITE.some((one) => one === name)) return true;
  if (/^leases\/\d{1,15}\.(log|base)$/.test(name)) return true;
  return TREES.some((tree) => name.startsWith(`${tree}/`)) && !LEFT_OUT.test(name);
}

/** Copies certificates, keys, settings, the boot plane's memory and the leases, while all of them are in use. */
export async function copyContents(dataDir: string, into: string, options: { readonly tenants: boolean }): Promise<Copied> {
  const files: string[] = [];
  const skipped: string[] = [];
  for (const tree of TREES) {
    if (OF_TENANTS.has(tree) && !options.tenants) continue;
    for (const name of filesUnder(dataDir, tree)) {
      if (!belongs(name)) continue;
      const copied = await copyFile(join(dataDir, name), join(into, name));
      if (copied === "copied") files.push(name);
      if (copied === "too large") skipped.push(name);
    }
  }
  for (const name of SQLITE) if (await copySqlite(join(dataDir, name), join(into, name))) files.push(name);
  for (const name of await copyLeases(join(dataDir, LEASES), join(into, LEASES))) files.push(`${LEASES}/${name}`);
  return { files, skipped };
}

/** Regular files alone: a link could lead anywhere. */
function filesUnder(dataDir: string, tree: string): string[] {
  try {
    return readdirSync(join(dataDir, tree), { withFileTypes: true })
      .flatMap((entry) => {
        const name = `${tree}/${entry.name}`;
        if (LEFT_OUT.test(name)) return [];
        return entry.isDirectory() ? filesUnder(dataDir, name) : entry.isFile() ? [name] : [];
      })
      .sort();
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

async function copyFile(from: string, to: string): Promise<"copied" | "gone" | "too large"> {
  try {
    const found = lstatSync(from);
    if (!found.isFile()) return "gone";
    if (found.size > MOST_BYTES) return "too large";
    await copyBytes(from, to, found.size);
    return "copied";
  } catch (error) {
    if (isGone(error)) return "gone";
    throw error;
  }
}

async function copyBytes(from: string, to: string, length: number): Promise<void> {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  const out = createWriteStream(to, { flags: "wx", mode: 0o600 });
  if (length === 0) return void (await pipeline([Buffer.alloc(0)], out));
  await pipeline(createReadStream("", { fd: openSync(from, constants.O_RDONLY | constants.O_NOFOLLOW), start: 0, end: length - 1 }), out);
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
      mkdirSync(to, { recursive: true, mode: 0o700 });
      const out = createWriteStream(join(to, name), { flags: "w", mode: 0o600 });
      if (size === 0) await pipeline([Buffer.alloc(0)], out);
      else await pipeline(createReadStream("", { fd, start: 0, end: size - 1, autoClose: false }), out);
    }
    return names;
  } finally {
    for (const { fd } of held) closeSync(fd);
  }
}

function isGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

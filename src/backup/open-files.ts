import { closeSync, constants, type Dirent, fstatSync, opendirSync, openSync } from "node:fs";

/** How much of a tree is looked at; counted down. */
export interface Allowance {
  entries: number;
  bytes: number;
  depth: number;
}

/** A regular file, open until the next one is asked for. */
export interface OpenFile {
  /** Below the root. */
  readonly name: string;
  readonly fd: number;
  readonly size: number;
}

/** What of a tree was not looked at. */
export interface NotLookedAt {
  readonly name: string;
  readonly why: string;
}

/** For a tree that only we write. */
export function unlimited(): Allowance {
  return { entries: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY, depth: 16 };
}

/**
 * The regular files of a tree, in order of their names. Each directory is held by its descriptor while its entries are opened, no
 * link is followed and no pipe waited for: whoever may write there cannot lead elsewhere, nor block, between a look and an opening.
 */
export function openFiles(
  root: string,
  name: string,
  wanted: (name: string) => boolean,
  allowance: Allowance,
): Generator<OpenFile | NotLookedAt> {
  return under(`${root}/${name}`, name, wanted, allowance, allowance.depth);
}

function* under(
  path: string,
  name: string,
  wanted: (name: string) => boolean,
  allowance: Allowance,
  depth: number,
): Generator<OpenFile | NotLookedAt> {
  if (depth === 0) return yield { name, why: "it is deeper than state of ours is" };
  const directory = openIfThere(path, constants.O_DIRECTORY);
  if (directory === undefined) return;
  if (directory === "refused") return yield { name, why: "it cannot be read" };
  try {
    const held = `/proc/self/fd/${directory}`;
    const { entries, isWhole } = entriesOf(held, allowance);
    for (const entry of entries) {
      const child = `${name}/${entry.name}`;
      if (!wanted(child)) continue;
      if (entry.isDirectory()) yield* under(`${held}/${entry.name}`, child, wanted, allowance, depth - 1);
      else if (entry.isFile()) yield* opened(`${held}/${entry.name}`, child);
    }
    if (!isWhole) yield { name, why: "it holds more than state of ours does" };
  } finally {
    closeSync(directory);
  }
}

function* opened(path: string, name: string): Generator<OpenFile | NotLookedAt> {
  const fd = openIfThere(path, constants.O_NONBLOCK);
  if (fd === undefined) return;
  if (fd === "refused") return yield { name, why: "it cannot be read" };
  try {
    const found = fstatSync(fd);
    if (found.isFile()) yield { name, fd, size: found.size };
  } finally {
    closeSync(fd);
  }
}

/** No more than are allowed, however many there are. */
function entriesOf(path: string, allowance: Allowance): { readonly entries: readonly Dirent[]; readonly isWhole: boolean } {
  const entries: Dirent[] = [];
  const directory = opendirSync(path);
  try {
    for (;;) {
      const entry = directory.readSync();
      const isWhole = entry === null;
      if (isWhole || allowance.entries <= 0) return { entries: entries.sort((a, b) => (a.name < b.name ? -1 : 1)), isWhole };
      allowance.entries -= 1;
      entries.push(entry);
    }
  } finally {
    directory.closeSync();
  }
}

/** Gone, or something else by now: a link, a socket. */
const NOT_THERE: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"]);

function openIfThere(path: string, flags: number): number | "refused" | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | flags);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (NOT_THERE.has(code)) return undefined;
    if (code === "EACCES" || code === "EPERM") return "refused";
    throw error;
  }
}

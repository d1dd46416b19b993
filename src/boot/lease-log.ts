import {
  close,
  closeSync,
  constants,
  fsync,
  fsyncSync,
  ftruncate,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Change, decodeGroup, encodeGroup } from "./lease-record.ts";
import type { Lease, LeaseChange, LeaseStore } from "./leases.ts";

const files = { close: promisify(close), fsync: promisify(fsync), ftruncate: promisify(ftruncate), write: promisify(write) };

export interface LeaseLogOptions {
  readonly directory: string;
  /** What an older release kept elsewhere; taken when this directory holds nothing yet. */
  readonly before?: Iterable<Lease>;
  /** Told when something on disk could not be read, and of compactions that failed. */
  onTrouble?(what: string, facts: Readonly<Record<string, unknown>>): void;
  /** Bytes of log after which what it amounts to is written anew, unless that is half as long itself. */
  readonly compactAfter?: number;
}

const COMPACT_AFTER = 8 << 20;
const RETRY_MS = 1000;
/** A group's fixed cost is that of several answers: under load they begin so far apart, and are the larger. */
const APART_MS = 2;
/** Leases written in one go while a compaction goes on beside the service. */
const CHUNK = 1000;

/**
 * Leases in a directory: `N.base`, what there was at a time, and `N.log`, groups of changes since then, each written and synced by
 * one call (group commit). A group torn by a crash or by the loss of power fails its checksum and is dropped, with all after it:
 * nothing that stood on it was ever sent. Compaction starts log N+1, writes `N+1.base` beside the service, and then removes N.
 */
export function openLeaseLog(options: LeaseLogOptions): LeaseStore {
  const { directory, onTrouble = () => {}, compactAfter = COMPACT_AFTER } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = recover(directory, onTrouble);
  const { leases } = found;
  if (found.isNew && options.before) {
    for (const lease of options.before) leases.set(lease.address, lease);
    writeBaseSync(directory, found.generation, leases);
  }

  const listeners = new Set<(error: Error | undefined) => void>();
  /** Changed since the last group; the last state of an address counts. */
  let changed = new Map<number, Lease | undefined>();
  let last: LeaseChange = 0;
  let synced: LeaseChange = 0;
  let generation = found.generation;
  let group = found.group;
  let fd = openLog(directory, generation);
  let position = found.length;
  let baseLength = found.baseLength;
  let buffer: Buffer = Buffer.allocUnsafe(1 << 16);
  let isScheduled = false;
  let startedAt = Number.NEGATIVE_INFINITY;
  let isWriting = false;
  /** The log could not be written: what a failed write left behind its end is cut off first. */
  let isTorn = false;
  let isClosing = false;
  const between: (() => void)[] = [];
  let retry: NodeJS.Timeout | undefined;
  let compaction: Promise<void> | undefined;
  ftruncateSync(fd, position);

  function note(address: number, lease: Lease | undefined): LeaseChange {
    changed.set(address, lease);
    last += 1;
    schedule();
    return last;
  }

  function schedule(): void {
    if (isScheduled || isWriting || retry || changed.size === 0) return;
    isScheduled = true;
    // after all datagrams of this turn: one group for all of them
    if (performance.now() - startedAt >= APART_MS) setImmediate(pump);
    else setTimeout(pump, APART_MS);
  }

  function pump(): void {
    isScheduled = false;
    if (isWriting || changed.size === 0) return;
    isWriting = true;
    startedAt = performance.now();
    void writeGroup();
  }

  async function writeGroup(): Promise<void> {
    const [changes, upTo] = [changed, last];
    changed = new Map();
    let error: Error | undefined;
    try {
      if (isTorn) await files.ftruncate(fd, position);
      isTorn = false;
      const bytes = encodeGroup(group + 1, changes, buffer);
      buffer = Buffer.from(bytes.buffer);
      await writeAll(fd, bytes, position);
      position += bytes.length;
      group += 1;
      synced = upTo;
    } catch (caught) {
      error = caught instanceof Error ? caught : new Error(String(caught));
      isTorn = true;
      for (const [address, lease] of changes) if (!changed.has(address)) changed.set(address, lease);
    }
    isWriting = false;
    for (const act of between.splice(0)) act();
    if (error) {
      retry = setTimeout(() => {
        retry = undefined;
        pump();
      }, RETRY_MS).unref();
    } else {
      schedule();
      if (!compaction && !isClosing && position > Math.max(compactAfter, 2 * baseLength)) compaction = compact();
    }
    for (const listener of [...listeners]) listener(error);
  }

  async function compact(): Promise<void> {
    const next = generation + 1;
    try {
      const file = openLog(directory, next);
      const old = await new Promise<number>((resolve) =>
        whenIdle(() => {
          // from here on changes go to the next log; those before are all synced in this one
          resolve(fd);
          fd = file;
          generation = next;
          position = 0;
          isTorn = false;
        }),
      );
      await files.close(old);
      baseLength = await writeBase(directory, next, leases, flush);
      for (const name of readdirSync(directory)) if (generationOf(name) < next) unlinkSync(join(directory, name));
    } catch (error) {
      onTrouble("leases were not compacted", { directory, error: String(error) });
    } finally {
      compaction = undefined;
    }
  }

  /** Between two groups. */
  function whenIdle(act: () => void): void {
    if (isWriting) between.push(act);
    else act();
  }

  async function flush(): Promise<void> {
    const upTo = last;
    while (synced < upTo) {
      pump();
      await new Promise<void>((resolve, reject) => {
        const stop = listen((error) => {
          stop();
          if (error) reject(error);
          else resolve();
        });
      });
    }
  }

  function listen(listener: (error: Error | undefined) => void): () => void {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  return {
    leases,
    put(lease) {
      leases.set(lease.address, lease);
      return note(lease.address, lease);
    },
    drop(address) {
      leases.delete(address);
      return note(address, undefined);
    },
    get synced() {
      return synced;
    },
    onSync: listen,
    flush,
    async close() {
      isClosing = true;
      await compaction;
      try {
        await flush();
      } finally {
        clearTimeout(retry);
        await files.close(fd);
      }
    },
  };
}

interface Recovered {
  readonly leases: Map<number, Lease>;
  readonly isNew: boolean;
  readonly generation: number;
  /** Number of the last group. */
  readonly group: number;
  /** Good bytes of the last log. */
  readonly length: number;
  readonly baseLength: number;
}

function recover(directory: string, onTrouble: NonNullable<LeaseLogOptions["onTrouble"]>): Recovered {
  const names = readdirSync(directory);
  // what a compaction left that did not finish
  for (const name of names.filter((one) => one.endsWith(".new"))) unlinkSync(join(directory, name));
  const numbers = (suffix: string) => names.filter((name) => name.endsWith(suffix) && generationOf(name) >= 0).map(generationOf);
  const base = Math.max(0, ...numbers(".base"));
  const logs = numbers(".log")
    .filter((one) => one >= base)
    .sort((a, b) => a - b);
  const leases = new Map<number, Lease>();
  let group = 0;
  const read = (file: string) => {
    const bytes = readFileSync(join(directory, file));
    let at = 0;
    for (;;) {
      const next = decodeGroup(bytes, at);
      // numbers go up by one: what an earlier, longer write left behind the end is not taken for new
      if (!next || (at > 0 && next.number !== group + 1)) break;
      for (const [address, lease] of next.changes) {
        if (lease) leases.set(address, lease);
        else leases.delete(address);
      }
      group = next.number;
      at = next.end;
    }
    if (at < bytes.length) onTrouble("the end of a lease file is torn and was dropped", { file, kept: at, dropped: bytes.length - at });
    return at;
  };
  const baseLength = numbers(".base").includes(base) ? read(`${base}.base`) : 0;
  let length = 0;
  for (const number of logs) length = read(`${number}.log`);
  const generation = logs.at(-1) ?? base;
  return { leases, isNew: logs.length === 0 && baseLength === 0, generation, group, length, baseLength };
}

/** `12.log` and `12.base` are of generation 12; other files are of none. */
function generationOf(name: string): number {
  const number = /^(\d{1,15})\.(log|base)$/.exec(name)?.[1];
  return number === undefined ? Number.NaN : Number(number);
}

/** Written data is on disk when its write returns, as by fdatasync(2): one call in place of two. */
function openLog(directory: string, generation: number): number {
  const fd = openSync(join(directory, `${generation}.log`), constants.O_WRONLY | constants.O_CREAT | constants.O_DSYNC, 0o600);
  syncDirectory(directory);
  return fd;
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY);
  fsyncSync(fd);
  closeSync(fd);
}

async function writeAll(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await files.write(fd, bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

/** What there is, as one file that is there whole or not at all. The service goes on beside it. @returns its length */
async function writeBase(
  directory: string,
  generation: number,
  leases: ReadonlyMap<number, Lease>,
  flush: () => Promise<void>,
): Promise<number> {
  const path = join(directory, `${generation}.base`);
  const fd = openSync(`${path}.new`, "w", 0o600);
  let length = 0;
  try {
    let number = 0;
    for (const changes of chunks(leases)) {
      number += 1;
      const bytes = encodeGroup(number, changes, Buffer.alloc(0));
      await writeAll(fd, bytes, length);
      length += bytes.length;
    }
    await files.fsync(fd);
  } finally {
    await files.close(fd);
  }
  // it may hold changes that came while it was written: they are in the log before it counts
  await flush();
  renameSync(`${path}.new`, path);
  syncDirectory(directory);
  return length;
}

function writeBaseSync(directory: string, generation: number, leases: ReadonlyMap<number, Lease>): void {
  const path = join(directory, `${generation}.base`);
  const fd = openSync(`${path}.new`, "w", 0o600);
  writeSync(fd, encodeGroup(1, leases, Buffer.alloc(0)));
  fsyncSync(fd);
  closeSync(fd);
  renameSync(`${path}.new`, path);
  syncDirectory(directory);
}

function* chunks(leases: ReadonlyMap<number, Lease>): Generator<Change[]> {
  let chunk: Change[] = [];
  for (const entry of leases) {
    chunk.push(entry);
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = [];
  }
  yield chunk;
}

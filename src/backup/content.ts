import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { IronwrightError, isError } from "../core/errors.ts";
import type { Etcd } from "../tenant/index.ts";

/** A key as it stands in etcd. */
export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The lease it goes with; 0 for one that stays. */
  readonly lease: bigint;
}

/** What a file of content holds, in order. A lease stands before the keys that go with it. */
export type Entry = { readonly lease: bigint; readonly seconds: number } | KeyValue;

export interface Dumped {
  readonly revision: string;
  readonly keys: number;
}

/** Content, not etcd's own file: it says nothing of members, users and versions, and any etcd takes it. */
const MAGIC = Buffer.from("IWKV1\n");
const HEADER = 17;
const KIND = { lease: 1, key: 2, end: 3 } as const;
const EVERY_KEY = "AA==";
/** Nothing is known of the next keys: each may be of 1.5 MiB, so that an answer weighs 96 MiB at the very most. */
const MOST_KEYS = 64;
const PAGE_BYTES = 2 << 20;
const LONGEST_PREFIX = 256;
/** The apiserver compacts what is older than five minutes: a reading that is slower than that begins again. */
const TRIES = 3;
/** Far beyond what etcd takes in one request, keys as values: a file that claims more would be read whole. */
const LONGEST_KEY = 16 << 20;
const LONGEST_VALUE = 64 << 20;
/** How far an apiserver got with compaction: of that etcd alone. */
const LEFT_OUT = "compact_rev_key";

interface WireKey {
  readonly key?: string;
  readonly value?: string;
  readonly lease?: string;
}

/** Writes every key as of one revision to a file, page by page while writes go on. @throws IRW_DATASTORE */
export async function dumpEtcd(etcd: Etcd, file: string): Promise<Dumped> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await dumpOnce(etcd, file);
    } catch (error) {
      if (tries >= TRIES || !isError(error, "IRW_DATASTORE") || !/compacted/.test(error.message)) throw error;
    }
  }
}

async function dumpOnce(etcd: Etcd, file: string): Promise<Dumped> {
  const head = await etcd.call("kv/range", { key: EVERY_KEY, range_end: EVERY_KEY, count_only: true });
  const { revision } = head.header as { revision: string };
  const out = createWriteStream(file, { flags: "w", mode: 0o600, flush: true });
  const done = finished(out);
  // what it fails by is thrown where it is awaited
  done.catch(() => {});
  const write = async (bytes: Buffer) => {
    if (!out.write(bytes)) await Promise.race([once(out, "drain"), done]);
  };
  try {
    await write(MAGIC);
    const known = new Map<bigint, boolean>();
    let keys = 0;
    for await (const page of pages(etcd, revision)) {
      for (const { key, value, lease } of page) {
        if (lease !== 0n && !known.has(lease)) known.set(lease, await writeLease(etcd, lease, write));
        // its lease ended meanwhile, and the key with it
        if (lease !== 0n && !known.get(lease)) continue;
        if (key.toString("latin1") === LEFT_OUT) continue;
        await write(record(KIND.key, key.length, value.length, lease));
        await write(key);
        await write(value);
        keys += 1;
      }
    }
    await write(record(KIND.end, keys, 0, 0n));
    out.end();
    await done;
    return { revision, keys };
  } catch (error) {
    out.destroy();
    throw error;
  }
}

/**
 * etcd counts every key of the range asked for, for each page: so the range is no wider than what the last page's keys begin with,
 * and is widened as it runs out.
 */
async function* pages(etcd: Etcd, revision: string): AsyncGenerator<readonly KeyValue[]> {
  let from: Buffer = Buffer.of(0);
  let prefix: Buffer = Buffer.alloc(0);
  let wider = 1;
  for (let limit = MOST_KEYS; ; ) {
    const end = endOf(prefix);
    const range = { key: from.toString("base64"), range_end: end?.toString("base64") ?? EVERY_KEY };
    const answer = await etcd.call("kv/range", { ...range, revision, limit });
    const page = ((answer.kvs ?? []) as WireKey[]).map(fromWire);
    yield page;
    const [first, last] = [page[0], page.at(-1)];
    if (first && last && answer.more === true) {
      from = Buffer.concat([last.key, Buffer.from([0])]);
      prefix = sharedBy(first.key, last.key);
    } else {
      if (!end) return;
      from = end;
      prefix = prefix.subarray(0, Math.max(0, prefix.length - wider));
    }
    wider = page.length === 0 ? wider * 2 : 1;
    const bytes = page.reduce((sum, one) => sum + one.key.length + one.value.length, 0);
    limit = bytes < PAGE_BYTES ? Math.min(MOST_KEYS, limit * 2) : Math.max(1, limit >> 1);
  }
}

function sharedBy(a: Buffer, b: Buffer): Buffer {
  let length = 0;
  while (length < Math.min(a.length, LONGEST_PREFIX) && a[length] === b[length]) length += 1;
  return a.subarray(0, length);
}

/** The least key beyond all that begin so; undefined where there is none. */
function endOf(prefix: Buffer): Buffer | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return undefined;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

function fromWire({ key = "", value = "", lease = "0" }: WireKey): KeyValue {
  return { key: Buffer.from(key, "base64"), value: Buffer.from(value, "base64"), lease: BigInt(lease) };
}

/** False when it ended. Restored, its keys live as long as they would have from their last renewal. */
async function writeLease(etcd: Etcd, lease: bigint, write: (bytes: Buffer) => Promise<void>): Promise<boolean> {
  const answer = await etcd.call("lease/timetolive", { ID: String(lease) });
  if (Number(answer.TTL ?? 0) <= 0) return false;
  await write(record(KIND.lease, Number(answer.grantedTTL ?? 0), 0, lease));
  return true;
}

function record(kind: number, first: number, second: number, lease: bigint): Buffer {
  const bytes = Buffer.alloc(HEADER);
  bytes[0] = kind;
  bytes.writeUInt32BE(first, 1);
  bytes.writeUInt32BE(second, 5);
  bytes.writeBigInt64BE(lease, 9);
  return bytes;
}

/** What a file of content holds, a piece at a time. @throws IRW_BACKUP_ARCHIVE when it is not whole */
export async function* readContent(file: string): AsyncGenerator<Entry> {
  const refuse = (reason: string) => new IronwrightError("IRW_BACKUP_ARCHIVE", { file, reason });
  const stream = createReadStream(file, { highWaterMark: 1 << 20 });
  const parts = stream[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const take = async (length: number) => {
    if (held.length < length) {
      const more: Buffer[] = [held];
      for (let have = held.length; have < length; ) {
        const next = await parts.next();
        if (next.done) throw refuse("its content ends in the middle");
        more.push(next.value as Buffer);
        have += (next.value as Buffer).length;
      }
      held = Buffer.concat(more);
    }
    const taken = held.subarray(0, length);
    held = held.subarray(length);
    return taken;
  };
  try {
    if (!(await take(MAGIC.length)).equals(MAGIC)) throw refuse("it is no content of a datastore");
    let keys = 0;
    for (;;) {
      const head = await take(HEADER);
      const [first, second, lease] = [head.readUInt32BE(1), head.readUInt32BE(5), head.readBigInt64BE(9)];
      if (head[0] === KIND.end) {
        if (first !== keys) throw refuse(`it holds ${keys} keys of ${first}`);
        return;
      }
      if (head[0] === KIND.lease) yield { lease, seconds: first };
      else if (head[0] === KIND.key && first > 0 && first <= LONGEST_KEY && second <= LONGEST_VALUE) {
        yield { key: Buffer.from(await take(first)), value: Buffer.from(await take(second)), lease };
        keys += 1;
      } else throw refuse("its content is not understood");
    }
  } finally {
    stream.destroy();
  }
}

import type { KeyRange } from "./etcd.ts";
import { decode, encode, type Grpc } from "./etcd-grpc.ts";

/** One key that was put or deleted. */
export interface Write {
  readonly key: string;
  /** Of key and value; a deletion weighs its key. */
  readonly bytes: number;
  readonly deleted: boolean;
}

export interface Weight {
  readonly keys: number;
  readonly bytes: number;
}

/**
 * Keys of one answer. etcd counts all that follow for each, so few answers are cheaper; and each value may be of 1.5 MiB, so
 * that an answer weighs 384 MiB at the very most.
 */
const PAGE_KEYS = { first: 64, least: 16, most: 256 };
const PAGE_BYTES = 4 * 2 ** 20;

/**
 * One watch over every key. Values come along, since etcd has no watch without them; their length is all one wants.
 * Ends by the signal; throws when the stream breaks.
 */
export async function watchWrites(grpc: Grpc, onWrite: (write: Write) => void, onOpen: () => void, signal: AbortSignal): Promise<void> {
  // key and range_end of one zero byte: everything; progress_notify, so that silence means it hangs; fragment
  const request = encode([1, encode([1, "\0"], [2, "\0"], [4, 1], [8, 1])]);
  for await (const message of grpc.call("Watch/Watch", request, signal)) {
    let reason = "";
    for (const { number, value, bytes } of decode(message)) {
      if (number === CREATED && value) onOpen();
      if (number === CANCELED && value) reason ||= "it was cancelled";
      if (number === CANCEL_REASON && bytes) reason = bytes.toString();
      if (number === EVENTS && bytes) onWrite(writeOf(bytes));
    }
    if (reason !== "") throw new Error(reason);
  }
  throw new Error("the stream ended");
}

/** Fields of a WatchResponse. */
const [CREATED, CANCELED, CANCEL_REASON, EVENTS] = [3, 4, 6, 11];

function writeOf(event: Buffer): Write {
  let deleted = false;
  let size: { readonly key: Buffer; readonly bytes: number } = { key: EMPTY, bytes: 0 };
  for (const { number, value, bytes } of decode(event)) {
    if (number === 1) deleted = value === 1;
    if (number === 2 && bytes) size = sizeOf(bytes);
  }
  return { key: size.key.toString(), bytes: size.bytes, deleted };
}

const EMPTY: Buffer = Buffer.alloc(0);

/** Of a KeyValue: its key is field 1, its value field 5. */
function sizeOf(keyValue: Buffer): { readonly key: Buffer; readonly bytes: number } {
  let [key, size]: [Buffer, number] = [EMPTY, 0];
  for (const { number, bytes } of decode(keyValue)) {
    if (!bytes) continue;
    size += bytes.length;
    if (number === 1) key = bytes;
  }
  return { key, bytes: size };
}

/** What the range's keys and values weigh right now, read a few at a time from what is on disk here. */
export async function weigh(grpc: Grpc, { first, end }: KeyRange, signal: AbortSignal): Promise<Weight> {
  let [keys, weight, limit] = [0, 0, PAGE_KEYS.first];
  // keys are bytes: a tenant's need not be text
  for (let from: Buffer | undefined = Buffer.from(first); from !== undefined; ) {
    const page: Buffer = encode([1, from], [2, end], [3, limit], [7, 1]);
    from = undefined;
    for await (const message of grpc.call("KV/Range", page, signal)) {
      let [last, more]: [Buffer, boolean] = [EMPTY, false];
      for (const { number, value, bytes } of decode(message)) {
        if (number === 3) more = value === 1;
        if (number !== 2 || !bytes) continue;
        const { key, bytes: size } = sizeOf(bytes);
        keys += 1;
        weight += size;
        last = key;
      }
      // the least key after the last one
      limit = Math.max(PAGE_KEYS.least, Math.min(PAGE_KEYS.most, Math.floor((PAGE_BYTES * keys) / Math.max(weight, 1))));
      if (more) from = Buffer.concat([last, Buffer.of(0)]);
    }
  }
  return { keys, bytes: weight };
}

import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { FILE_KEY, headerLength, type Lock, openHeader, type Unlock, writeHeader } from "./age-header.ts";

/** Why a file cannot be read; what it is to the reader is the caller's. */
export class AgeProblem extends Error {}

const CHUNK = 64 * 1024;
const TAG = 16;
const NONCE = 16;
/** No header of ours is near it; what is longer is not read to its end. */
const LONGEST_HEADER = 64 * 1024;

/** Encrypts a stream as an age file: `age -d` opens it as well. Holds two chunks of 64 KiB, whatever is behind it. */
export async function* encrypt(
  source: AsyncIterable<Uint8Array>,
  lock: Lock,
  random: (bytes: number) => Buffer,
  work?: number,
): AsyncGenerator<Buffer> {
  const fileKey = random(FILE_KEY);
  yield writeHeader(lock, fileKey, random, work);
  const nonce = random(NONCE);
  yield nonce;
  const key = payloadKey(fileKey, nonce);
  let counter = 0;
  for await (const { bytes, isLast } of chunks(source, CHUNK)) {
    const cipher = createCipheriv("chacha20-poly1305", key, chunkNonce(counter, isLast), { authTagLength: TAG });
    yield Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    counter += 1;
  }
}

/** What an age file holds, chunk by chunk as each is proven; one that was cut short or altered throws before it ends. @throws AgeProblem */
export async function* decrypt(source: AsyncIterable<Uint8Array>, unlock: Unlock): AsyncGenerator<Buffer> {
  const reader = source[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    let length: number | undefined;
    while (length === undefined || head.length < length + NONCE) {
      const found = length ?? headerLength(head);
      if (found === "none") throw new AgeProblem("it is not an age file");
      if (found !== undefined && head.length >= found + NONCE) {
        length = found;
        break;
      }
      const next = await reader.next();
      if (next.done || head.length > LONGEST_HEADER) throw new AgeProblem("its header does not end");
      head = Buffer.concat([head, next.value]);
    }
    const fileKey = openHeader(head.subarray(0, length), unlock);
    if (fileKey === "closed") throw new AgeProblem("no key given opens it");
    if (!fileKey) throw new AgeProblem("its header was altered");
    const key = payloadKey(fileKey, head.subarray(length, length + NONCE));
    const rest = head.subarray(length + NONCE);
    let counter = 0;
    for await (const { bytes, isLast } of chunks(following(rest, reader), CHUNK + TAG)) {
      const plain = openChunk(key, counter, isLast, bytes);
      // the last one holds something, unless it is the only one: a file has one form
      if (plain.length === 0 && counter > 0) throw new AgeProblem("it does not end as an age file does");
      yield plain;
      counter += 1;
    }
  } finally {
    await reader.return?.();
  }
}

function openChunk(key: Buffer, counter: number, isLast: boolean, bytes: Buffer): Buffer {
  const cut = "it was cut short or altered";
  if (bytes.length < TAG) throw new AgeProblem(cut);
  try {
    const decipher = createDecipheriv("chacha20-poly1305", key, chunkNonce(counter, isLast), { authTagLength: TAG });
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG));
    return Buffer.concat([decipher.update(bytes.subarray(0, bytes.length - TAG)), decipher.final()]);
  } catch {
    throw new AgeProblem(cut);
  }
}

/** Pieces of one size, the last one marked and maybe shorter; of an empty stream one empty piece. */
async function* chunks(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const part of source) {
    parts.push(part);
    held += part.length;
    if (held <= size) continue;
    const all = Buffer.concat(parts);
    let at = 0;
    for (; all.length - at > size; at += size) yield { bytes: all.subarray(at, at + size), isLast: false };
    parts = [all.subarray(at)];
    held = all.length - at;
  }
  yield { bytes: Buffer.concat(parts), isLast: true };
}

async function* following(first: Buffer, reader: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  for (let next = await reader.next(); !next.done; next = await reader.next()) yield next.value;
}

function payloadKey(fileKey: Buffer, nonce: Buffer): Buffer {
  return Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32));
}

/** Eleven bytes of counter, one that says whether it is the last. */
function chunkNonce(counter: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(counter, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** A regular file in a tar archive (POSIX ustar). */
export interface TarEntry {
  readonly name: string;
  readonly size: number;
}

/** Why a tar archive cannot be read. */
export class TarProblem extends Error {}

const BLOCK = 512;
const NAME = 100;
const PREFIX = 155;
/** Twelve bytes hold eleven octal digits; above it GNU tar's binary form stands. */
const MOST_OCTAL = 8 ** 11 - 1;

/** The header of a regular file, readable by its owner alone. @throws RangeError for a name that does not fit */
export function tarHeader({ name, size }: TarEntry, mtime: Date): Buffer {
  const block = Buffer.alloc(BLOCK);
  const split = splitName(name);
  if (!split) throw new RangeError(`a name in the archive is ASCII and not long: ${JSON.stringify(name)}`);
  const { prefix, base } = split;
  block.write(base, 0);
  block.write("0000600\0", 100);
  block.write("0000000\0", 108);
  block.write("0000000\0", 116);
  if (size <= MOST_OCTAL) block.write(octal(size, 11), 124);
  else {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write(octal(Math.max(0, Math.floor(mtime.getTime() / 1000)), 11), 136);
  block.write("0", 156);
  block.write("ustar\0" + "00", 257);
  block.write(prefix, 345);
  block.write(`${octal(checksum(block), 6)} `, 148);
  return block;
}

/** What fills a file's last block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

/**
 * The entries of a tar stream in order, each with its bytes, which must be read before the next entry. Anything but a regular file is
 * refused: we write nothing else. @throws TarProblem
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<{ entry: TarEntry; body: AsyncIterable<Buffer> }> {
  const reader = takeFrom(source);
  for (;;) {
    const block = await reader.exactly(BLOCK);
    if (block.every((byte) => byte === 0)) break;
    const entry = parseHeader(block);
    let left = entry.size;
    async function* body(): AsyncGenerator<Buffer> {
      while (left > 0) {
        const bytes = await reader.upTo(left);
        left -= bytes.length;
        yield bytes;
      }
    }
    yield { entry, body: body() };
    for await (const _ of body()) {
      // what the reader left of it
    }
    await reader.exactly(tarPadding(entry.size).length);
  }
  // to the very end: only then is the layer below known to be whole
  for (;;) if ((await reader.upTo(1 << 20, true)).length === 0) return;
}

function parseHeader(block: Buffer): TarEntry {
  const sum = Number.parseInt(text(block, 148, 8), 8);
  const bare = Buffer.from(block);
  bare.fill(0x20, 148, 156);
  if (sum !== checksum(bare)) throw new TarProblem("a header's checksum is wrong");
  const type = String.fromCharCode(block[156] ?? 0);
  const [base, prefix] = [text(block, 0, NAME), text(block, 345, PREFIX)];
  const name = prefix === "" ? base : `${prefix}/${base}`;
  if (type !== "0" && type !== "\0") throw new TarProblem(`${JSON.stringify(name)} is no regular file`);
  const size = block[124] === 0x80 ? Number(block.readBigUInt64BE(128)) : Number.parseInt(text(block, 124, 12), 8);
  if (!Number.isSafeInteger(size) || size < 0) throw new TarProblem(`${JSON.stringify(name)} has no size`);
  return { name, size };
}

/** Whether a header can hold the name. */
export function fitsTar(name: string): boolean {
  return splitName(name) !== undefined;
}

function splitName(name: string): { prefix: string; base: string } | undefined {
  if (/[^ -~]/.test(name)) return undefined;
  if (name.length <= NAME) return { prefix: "", base: name };
  const at = name.indexOf("/", name.length - NAME - 1);
  return at < 0 || at > PREFIX ? undefined : { prefix: name.slice(0, at), base: name.slice(at + 1) };
}

/** The checksum field itself counts as blanks. */
function checksum(block: Buffer): number {
  let sum = 0;
  for (const [at, byte] of block.entries()) sum += at >= 148 && at < 156 ? 0x20 : byte;
  return sum;
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, "0")}\0`;
}

function text(block: Buffer, from: number, length: number): string {
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end < 0 ? length : end).trim();
}

function takeFrom(source: AsyncIterable<Uint8Array>) {
  const iterator = source[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);

  /** Up to so many bytes: at least one, unless it is over, which only an `end` may be. */
  async function upTo(most: number, mayEnd = false): Promise<Buffer> {
    while (held.length === 0) {
      const next = await iterator.next();
      if (next.done) {
        if (mayEnd) return held;
        throw new TarProblem("it ends in the middle");
      }
      held = Buffer.from(next.value);
    }
    const taken = held.subarray(0, most);
    held = held.subarray(taken.length);
    return taken;
  }

  async function exactly(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const part = await upTo(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  return { upTo, exactly };
}

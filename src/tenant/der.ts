/** An element of X.690 8.1: tag, length, contents. */
export function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  const length =
    body.length < 0x80 ? [body.length] : body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/** Whether the bytes are one element, and it and all in it have the one, shortest, form of length that X.690 10.1 allows. */
export function isDer(bytes: Buffer): boolean {
  return lengthOf(bytes, 0) === bytes.length;
}

/** The elements in a constructed element of DER, each with its header. */
export function derChildren(bytes: Buffer): Buffer[] {
  const children: Buffer[] = [];
  for (let at = header(bytes)?.octets ?? bytes.length; at < bytes.length; ) {
    const length = lengthOf(bytes.subarray(at), 0);
    if (length === undefined) return [];
    children.push(bytes.subarray(at, at + length));
    at += length;
  }
  return children;
}

const DEEPEST = 16;

/** How many bytes the first element takes, header included; undefined when it is not DER. */
function lengthOf(bytes: Buffer, depth: number): number | undefined {
  const head = header(bytes);
  if (!head || depth > DEEPEST) return undefined;
  const end = head.octets + head.contents;
  if (end > bytes.length) return undefined;
  for (let at = head.octets; head.constructed && at < end; ) {
    const inner = lengthOf(bytes.subarray(at, end), depth + 1);
    if (inner === undefined) return undefined;
    at += inner;
  }
  return end;
}

/** Tags of one octet and lengths of up to two: all that a certificate request needs. */
function header(bytes: Buffer): { readonly octets: number; readonly contents: number; readonly constructed: boolean } | undefined {
  const [tag = 0, short = 0x80] = bytes;
  const extra = short < 0x80 ? 0 : short & 0x7f;
  if ((tag & 0x1f) === 0x1f || short === 0x80 || extra > 2 || bytes.length < 2 + extra) return undefined;
  const contents = extra === 0 ? short : bytes.readUIntBE(2, extra);
  const fewest = contents < 0x80 ? 0 : contents < 0x100 ? 1 : 2;
  return extra === fewest ? { octets: 2 + extra, contents, constructed: (tag & 0x20) !== 0 } : undefined;
}

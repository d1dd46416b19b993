import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { AgeProblem, decrypt, encrypt } from "./age.ts";
import type { Lock, Unlock } from "./age-header.ts";
import { fitsTar, readTar, TarProblem, tarEnd, tarHeader, tarPadding } from "./tar.ts";

/** What a reader must know to read it; goes up when an older one would read it wrongly. */
export const FORMAT = 1;
const KIND = "ironwright-backup";
const MANIFEST = "manifest.json";
const LONGEST_MANIFEST = 16 << 20;

const part = z.strictObject({ name: z.string(), size: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const datastore = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  revision: z.string().regex(/^\d{1,18}$/),
  keys: z.int().min(0),
  version: z.string(),
});

const manifest = z.object({
  kind: z.literal(KIND),
  format: z.literal(FORMAT),
  /** Of Ironwright. */
  version: z.string(),
  /** Of Kubernetes on the host control plane. */
  kubernetes: z.string(),
  takenAt: z.iso.datetime(),
  /** Which host it is a backup of: SHA-256 of its control plane's authority, or its data directory's number. */
  host: z.string(),
  /** Absent where the host control plane is somebody else's cluster. */
  etcd: datastore.optional(),
  /** The tenants' datastores, each by its directory's name. */
  shards: z.array(datastore),
  parts: z.array(part),
});

/** What an archive says of itself; its first entry. */
export type Manifest = z.output<typeof manifest>;
export type Datastore = z.output<typeof datastore>;
/** A file on its way into the archive. */
export interface Source {
  readonly name: string;
  readonly path: string;
}

/** Size and digest of a file, read once from its beginning to its end. */
export async function digestOf(path: string): Promise<{ size: number; sha256: string }> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const bytes of createReadStream(path)) {
    hash.update(bytes as Buffer);
    size += (bytes as Buffer).length;
  }
  return { size, sha256: hash.digest("hex") };
}

/** Writes the archive: age around gzip around tar, so that `age -d FILE | tar xz` opens it without us. Resolves when it is on disk. */
export async function writeArchive(
  file: string,
  about: Omit<Manifest, "kind" | "format" | "parts">,
  sources: readonly Source[],
  lock: Lock,
  random: (bytes: number) => Buffer,
): Promise<Manifest> {
  const parts: Manifest["parts"] = [];
  for (const { name, path } of sources) parts.push({ name, ...(await digestOf(path)) });
  const whole: Manifest = { kind: KIND, format: FORMAT, ...about, parts };
  await pipeline(
    tarOf(whole, sources),
    createGzip({ level: 3 }),
    (zipped: AsyncIterable<Buffer>) => encrypt(zipped, lock, random),
    createWriteStream(file, { flags: "wx", mode: 0o600, flush: true }),
  );
  return whole;
}

async function* tarOf(whole: Manifest, sources: readonly Source[]): AsyncGenerator<Buffer> {
  const mtime = new Date(whole.takenAt);
  const text = Buffer.from(`${JSON.stringify(whole, null, 1)}\n`);
  yield tarHeader({ name: MANIFEST, size: text.length }, mtime);
  yield text;
  yield tarPadding(text.length);
  for (const [at, { path }] of sources.entries()) {
    const entry = whole.parts[at];
    if (!entry) return;
    yield tarHeader(entry, mtime);
    // exactly what was measured: nothing that comes behind may push the next header off its block
    if (entry.size > 0) for await (const bytes of createReadStream(path, { end: entry.size - 1 })) yield bytes as Buffer;
    yield tarPadding(entry.size);
  }
  yield tarEnd();
}

/**
 * Unpacks an archive under a directory, every part checked against the manifest. Archives are not trusted: whoever knows a
 * recipient can write one. @throws IRW_BACKUP_ARCHIVE, IRW_BACKUP_KEY; what was unpacked by then is the caller's to remove
 */
export async function unpackArchive(file: string, source: AsyncIterable<Uint8Array>, unlock: Unlock, into: string): Promise<Manifest> {
  const refuse = (reason: string, cause?: unknown) => new IronwrightError("IRW_BACKUP_ARCHIVE", { file, reason }, cause);
  try {
    let about: Manifest | undefined;
    await pipeline(decrypt(source, unlock), createGunzip(), async (plain: AsyncIterable<Buffer>) => {
      about = await unpackTar(plain, into, refuse);
    });
    if (!about) throw refuse("it is empty");
    return about;
  } catch (error) {
    if (error instanceof AgeProblem && error.message.includes("no key"))
      throw new IronwrightError("IRW_BACKUP_KEY", { file, reason: error.message }, error);
    if (error instanceof AgeProblem || error instanceof TarProblem || isOfZlib(error)) throw refuse(reasonOf(error), error);
    throw error;
  }
}

async function unpackTar(plain: AsyncIterable<Buffer>, into: string, refuse: Refuse): Promise<Manifest | undefined> {
  let about: Manifest | undefined;
  const left = new Map<string, Manifest["parts"][number]>();
  for await (const { entry, body } of readTar(plain)) {
    if (!about) {
      about = await readManifest(entry, body, refuse);
      for (const one of about.parts) {
        if (!isSafeName(one.name) || left.has(one.name)) throw refuse(`it names a file ${JSON.stringify(one.name)}`);
        left.set(one.name, one);
      }
      continue;
    }
    const expected = left.get(entry.name);
    if (!expected || expected.size !== entry.size) throw refuse(`${JSON.stringify(entry.name)} is not as its manifest says`);
    left.delete(entry.name);
    const digest = await unpackFile(join(into, entry.name), body);
    if (digest !== expected.sha256) throw refuse(`${entry.name} does not have the digest of its manifest`);
  }
  const [missing] = left.keys();
  if (missing !== undefined) throw refuse(`${missing} is missing`);
  return about;
}

/** @returns its digest */
async function unpackFile(path: string, body: AsyncIterable<Buffer>): Promise<string> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const hash = createHash("sha256");
  async function* measured(): AsyncGenerator<Buffer> {
    for await (const bytes of body) {
      hash.update(bytes);
      yield bytes;
    }
  }
  await pipeline(measured(), createWriteStream(path, { flags: "wx", mode: 0o600, flush: true }));
  return hash.digest("hex");
}

type Refuse = (reason: string, cause?: unknown) => IronwrightError;

async function readManifest(entry: { name: string; size: number }, body: AsyncIterable<Buffer>, refuse: Refuse): Promise<Manifest> {
  if (entry.name !== MANIFEST || entry.size > LONGEST_MANIFEST)
    throw refuse("it does not begin with our manifest: it is a backup of something else");
  const chunks: Buffer[] = [];
  for await (const bytes of body) chunks.push(bytes);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw refuse("its manifest is not JSON", error);
  }
  const { kind, format, version } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (kind !== KIND) throw refuse("its manifest is not ours: it is a backup of something else");
  if (typeof format === "number" && format > FORMAT)
    throw refuse(`it was written by a newer Ironwright (${String(version)}, format ${format}; this one reads ${FORMAT})`);
  const parsed = manifest.safeParse(value);
  if (!parsed.success)
    throw refuse(
      `its manifest is not valid: ${parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ")}`,
    );
  return parsed.data;
}

/** Below the directory it is unpacked in, and nothing but letters a file of ours has. */
export function isSafeName(name: string): boolean {
  return name.length <= 255 && name.split("/").every((step) => /^[A-Za-z0-9_@+:-][A-Za-z0-9._@+:-]*$/.test(step));
}

/** One that can be written, and will be read. */
export function isPartName(name: string): boolean {
  return isSafeName(name) && fitsTar(name);
}

function isOfZlib(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import { decrypt, encrypt } from "./age.ts";
import { newIdentity } from "./age-header.ts";
import { isSafeName, type Manifest, unpackArchive, writeArchive } from "./archive.ts";
import { readTar, tarEnd, tarHeader, tarPadding } from "./tar.ts";

const { identity, recipient } = newIdentity();
const unlock = { identities: [identity] };
const about = { version: "1.0.0", kubernetes: "v1.36.3", takenAt: "2026-01-01T00:00:00.000Z", host: "ab", shards: [] };
let dir: string;
let number = 0;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "iwa-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const fresh = () => join(dir, `into-${number++}`);

async function written(parts: Readonly<Record<string, Buffer>>): Promise<string> {
  const sources = Object.entries(parts).map(([name, bytes], at) => {
    const path = join(dir, `part-${number}-${at}`);
    writeFileSync(path, bytes);
    return { name, path };
  });
  const file = join(dir, `archive-${number++}`);
  await writeArchive(file, about, sources, { recipients: [recipient] }, randomBytes);
  return file;
}

const unpack = (file: string, into: string) => unpackArchive(file, createReadStream(file), unlock, into);

/** An archive that somebody who knows the recipient made. */
async function forged(entries: readonly (readonly [string, Buffer])[], turn: (tar: Buffer) => Buffer = (tar) => tar): Promise<string> {
  const blocks = entries.flatMap(([name, bytes]) => [
    tarHeader({ name, size: bytes.length }, new Date(0)),
    bytes,
    tarPadding(bytes.length),
  ]);
  const file = join(dir, `forged-${number++}`);
  const source = Readable.from([gzipSync(turn(Buffer.concat([...blocks, tarEnd()])))]);
  writeFileSync(file, await Array.fromAsync(encrypt(source, { recipients: [recipient] }, randomBytes)).then(Buffer.concat));
  return file;
}

const manifest = (change: object): Buffer =>
  Buffer.from(JSON.stringify({ kind: "ironwright-backup", format: 1, ...about, parts: [], ...change }));

test("what was put in comes out, and tar reads it as well", async () => {
  const parts = { "data/a": randomBytes(100_000), "data/empty": Buffer.alloc(0), "content/host": randomBytes(512) };
  const long = `data/tenants/${"x".repeat(60)}/${"y".repeat(90)}`;
  const file = await written({ ...parts, [long]: Buffer.from("long") });
  const into = fresh();
  const whole: Manifest = await unpack(file, into);
  expect(whole.parts.map((part) => part.name)).toEqual([...Object.keys(parts), long]);
  for (const [name, bytes] of Object.entries(parts)) expect(readFileSync(join(into, name)).equals(bytes)).toBe(true);
  expect(readFileSync(join(into, long), "utf8")).toBe("long");

  const plain = Buffer.concat(await Array.fromAsync(decrypt(createReadStream(file), unlock)));
  const listed = spawnSync("tar", ["tzf", "-"], { input: plain, encoding: "utf8" });
  expect(listed.stdout.trim().split("\n")).toEqual(["manifest.json", ...Object.keys(parts), long]);
});

test("an archive cut or altered anywhere is refused", async () => {
  const file = await written({ "data/a": randomBytes(3_000) });
  const bytes = readFileSync(file);
  const spoiled = join(dir, "spoiled");
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.boolean(), async (at, cuts) => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 4;
      writeFileSync(spoiled, cuts ? bytes.subarray(0, at) : copy);
      const error = await unpack(spoiled, fresh()).catch((thrown: unknown) => thrown);
      expect(isError(error, "IRW_BACKUP_ARCHIVE") || isError(error, "IRW_BACKUP_KEY")).toBe(true);
    }),
    { numRuns: 100 },
  );
});

const ok = Buffer.from("ok");
const digest = "2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df";
test.each<[string, readonly (readonly [string, Buffer])[], RegExp]>([
  [
    "one of a newer version",
    [["manifest.json", manifest({ format: 2, version: "9.0.0", news: true })]],
    /newer Ironwright \(9\.0\.0, format 2/,
  ],
  ["one of something else", [["manifest.json", Buffer.from('{"kind":"velero"}')]], /backup of something else/],
  ["one without a manifest", [["data/a", ok]], /does not begin with our manifest/],
  ["an empty one", [], /is empty/],
  ["a manifest that is not JSON", [["manifest.json", Buffer.from("{")]], /not JSON/],
  ["a manifest without a time", [["manifest.json", manifest({ takenAt: "yesterday" })]], /takenAt/],
  [
    "a datastore's name that leads elsewhere",
    [["manifest.json", manifest({ etcd: { name: "../x", revision: "1", keys: 0, version: "3" } })]],
    /etcd\.name/,
  ],
  ["a part that is missing", [["manifest.json", manifest({ parts: [{ name: "data/a", size: 2, sha256: digest }] })]], /data\/a is missing/],
  [
    "a part nobody announced",
    [
      ["manifest.json", manifest({})],
      ["data/a", ok],
    ],
    /not as its manifest says/,
  ],
  [
    "a part of another length",
    [
      ["manifest.json", manifest({ parts: [{ name: "data/a", size: 3, sha256: digest }] })],
      ["data/a", ok],
    ],
    /not as its manifest says/,
  ],
  [
    "a part of other bytes",
    [
      ["manifest.json", manifest({ parts: [{ name: "data/a", size: 2, sha256: "0".repeat(64) }] })],
      ["data/a", ok],
    ],
    /digest/,
  ],
  [
    "a way out of the directory",
    [
      ["manifest.json", manifest({ parts: [{ name: "../a", size: 2, sha256: digest }] })],
      ["../a", ok],
    ],
    /names a file/,
  ],
  [
    "an absolute way",
    [
      ["manifest.json", manifest({ parts: [{ name: "/etc/a", size: 2, sha256: digest }] })],
      ["/etc/a", ok],
    ],
    /names a file/,
  ],
])("%s is refused", async (_, entries, message) => {
  const into = fresh();
  await expect(unpack(await forged(entries), into)).rejects.toMatchObject({
    code: "IRW_BACKUP_ARCHIVE",
    message: expect.stringMatching(message),
  });
  expect(existsSync(join(into, "..", "a"))).toBe(false);
});

test("links and devices are refused", async () => {
  const file = await forged(
    [
      ["manifest.json", manifest({ parts: [{ name: "data/a", size: 0, sha256: digest }] })],
      ["data/a", Buffer.alloc(0)],
    ],
    (tar) => {
      const at = tar.indexOf("data/a\0");
      tar[at + 156] = "2".charCodeAt(0);
      // the checksum counts the type
      const sum = Number.parseInt(tar.toString("latin1", at + 148, at + 154), 8) + 2;
      tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
      return tar;
    },
  );
  await expect(unpack(file, fresh())).rejects.toMatchObject({ message: expect.stringMatching(/no regular file/) });
});

test("whatever a holder of the recipient packs, the answer is a coded refusal", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), async (noise, zips) => {
      const file = join(dir, "noise");
      const source = Readable.from([zips ? gzipSync(noise) : Buffer.from(noise)]);
      writeFileSync(file, Buffer.concat(await Array.fromAsync(encrypt(source, { recipients: [recipient] }, randomBytes))));
      await expect(unpack(file, fresh())).rejects.toMatchObject({ code: "IRW_BACKUP_ARCHIVE" });
    }),
    { numRuns: 100 },
  );
});

test("names that lead out, hide or surprise are no names", () => {
  for (const name of ["", "..", "a/../b", "/a", "a//b", "a/.b", ".x", "a\0b", "a b", "ä", "a/", "x".repeat(256)])
    expect(isSafeName(name), name).toBe(false);
  for (const name of ["a", "data/pki/host/etcd-ca.crt", "leases/1.log", "tenants/0c0f-1/x_y@z"]) expect(isSafeName(name), name).toBe(true);
});

test("sizes beyond what octal digits hold", async () => {
  const size = 9 * 2 ** 30;
  const read = readTar(Readable.from([tarHeader({ name: "big", size }, new Date(0))]));
  expect((await read.next()).value?.entry).toEqual({ name: "big", size });
});

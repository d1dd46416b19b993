import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  scryptSync,
  timingSafeEqual,
} from "node:crypto";
import { decodeBech32, encodeBech32 } from "../core/bech32.ts";

/** Whom an archive is for: holders of a key, or whoever knows a passphrase. One passphrase stands alone (age's rule). */
export type Lock = { readonly recipients: readonly string[] } | { readonly passphrase: string };
/** What opens one. */
export type Unlock = { readonly identities: readonly string[] } | { readonly passphrase: string };

type Random = (bytes: number) => Buffer;

export const FILE_KEY = 16;
/** The header of age: https://c2sp.org/age */
const INTRO = "age-encryption.org/v1";
const X25519_INFO = "age-encryption.org/v1/X25519";
const SCRYPT_INFO = "age-encryption.org/v1/scrypt";
/** 2^18: a second, and 256 MiB. */
const WORK = 18;
/** What a hostile header may ask of us at most. */
const MOST_WORK = 20;
const MOST_STANZAS = 64;
/** DER of an X25519 key, up to its 32 bytes: RFC 8410. */
const PRIVATE = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC = Buffer.from("302a300506032b656e032100", "hex");

interface Stanza {
  readonly words: readonly string[];
  readonly body: Buffer;
}

/** A pair of keys as `age-keygen` makes them. */
export function newIdentity(): { readonly identity: string; readonly recipient: string } {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const secret = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32);
  return { identity: encodeBech32("age-secret-key-", secret).toUpperCase(), recipient: encodeBech32("age", raw(publicKey)) };
}

export function isRecipient(text: string): boolean {
  return keyBytes(text, "age") !== undefined;
}

export function isIdentity(text: string): boolean {
  return keyBytes(text, "age-secret-key-") !== undefined;
}

/** The head of a file whose payload is under `fileKey`. */
export function writeHeader(lock: Lock, fileKey: Buffer, random: Random, work = WORK): Buffer {
  const stanzas =
    "passphrase" in lock ? [lockByPassphrase(lock.passphrase, fileKey, random, work)] : lock.recipients.map((one) => lockFor(one, fileKey));
  const text = `${INTRO}\n${stanzas.map(stanzaText).join("")}---`;
  return Buffer.from(`${text} ${bare(macOf(fileKey, text))}\n`);
}

/** How long the header is, once all of it is there; undefined before, and `none` where it is no age file. */
export function headerLength(bytes: Buffer): number | undefined | "none" {
  const intro = `${INTRO}\n`;
  if (bytes.subarray(0, intro.length).toString("latin1") !== intro.slice(0, bytes.length)) return "none";
  const end = /\n--- [A-Za-z0-9+/]{43}\n/.exec(bytes.toString("latin1"));
  return end ? end.index + end[0].length : undefined;
}

/** The file's key, `closed` when nothing given opens it, or undefined when the header is not whole. */
export function openHeader(header: Buffer, unlock: Unlock): Buffer | "closed" | undefined {
  const text = header.toString("latin1");
  const stanzas = parseStanzas(text);
  if (!stanzas) return undefined;
  for (const stanza of stanzas) {
    // age: a passphrase is the only way in, or anybody could add one of theirs
    if (stanza.words[0] === "scrypt" && stanzas.length > 1) return undefined;
    const key = "passphrase" in unlock ? openByPassphrase(stanza, unlock.passphrase) : openByIdentity(stanza, unlock.identities);
    if (!key) continue;
    const at = text.lastIndexOf("--- ");
    const mac = Buffer.from(text.slice(at + 4).trimEnd(), "base64");
    return timingSafeEqual(mac, macOf(key, text.slice(0, at + 3))) ? key : undefined;
  }
  return "closed";
}

function parseStanzas(text: string): readonly Stanza[] | undefined {
  const lines = text.split("\n").slice(1, -2);
  const stanzas: Stanza[] = [];
  for (let at = 0; at < lines.length; ) {
    const words = (lines[at] ?? "").split(" ");
    if (words.shift() !== "->" || words.length === 0 || words.some((word) => !/^[!-~]+$/.test(word))) return undefined;
    at += 1;
    let body = "";
    for (;;) {
      const line = lines[at];
      if (line === undefined || !/^[A-Za-z0-9+/]{0,64}$/.test(line)) return undefined;
      body += line;
      at += 1;
      if (line.length < 64) break;
    }
    stanzas.push({ words, body: Buffer.from(body, "base64") });
    if (stanzas.length > MOST_STANZAS) return undefined;
  }
  return stanzas;
}

function stanzaText({ words, body }: Stanza): string {
  const lines: string[] = [...(bare(body).match(/.{1,64}/g) ?? [])];
  if ((lines.at(-1)?.length ?? 64) === 64) lines.push("");
  return `-> ${words.join(" ")}\n${lines.join("\n")}\n`;
}

function lockFor(recipient: string, fileKey: Buffer): Stanza {
  const theirs = keyBytes(recipient, "age");
  if (!theirs) throw new TypeError(`no recipient: ${recipient}`);
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const share = raw(publicKey);
  return { words: ["X25519", bare(share)], body: seal(x25519Key(privateKey, theirs, share, theirs), fileKey) };
}

function openByIdentity({ words, body }: Stanza, identities: readonly string[]): Buffer | undefined {
  const share = Buffer.from(words[1] ?? "", "base64");
  if (words[0] !== "X25519" || words.length !== 2 || share.length !== 32) return undefined;
  for (const identity of identities) {
    const secret = keyBytes(identity, "age-secret-key-");
    if (!secret) continue;
    const key = createPrivateKey({ key: Buffer.concat([PRIVATE, secret]), format: "der", type: "pkcs8" });
    const opened = quietly(() => open(x25519Key(key, share, share, raw(createPublicKey(key))), body));
    if (opened) return opened;
  }
  return undefined;
}

function x25519Key(mine: KeyObject, theirs: Buffer, share: Buffer, recipient: Buffer): Buffer {
  const publicKey = createPublicKey({ key: Buffer.concat([PUBLIC, theirs]), format: "der", type: "spki" });
  const shared = diffieHellman({ privateKey: mine, publicKey });
  return Buffer.from(hkdfSync("sha256", shared, Buffer.concat([share, recipient]), X25519_INFO, 32));
}

function lockByPassphrase(passphrase: string, fileKey: Buffer, random: Random, work: number): Stanza {
  const salt = random(16);
  return { words: ["scrypt", bare(salt), String(work)], body: seal(scryptKey(passphrase, salt, work), fileKey) };
}

function openByPassphrase({ words, body }: Stanza, passphrase: string): Buffer | undefined {
  const [kind, salt = "", work = ""] = words;
  if (kind !== "scrypt" || words.length !== 3 || !/^[1-9]\d?$/.test(work) || Number(work) > MOST_WORK) return undefined;
  return quietly(() => open(scryptKey(passphrase, Buffer.from(salt, "base64"), Number(work)), body));
}

function scryptKey(passphrase: string, salt: Buffer, work: number): Buffer {
  const N = 2 ** work;
  return scryptSync(passphrase.normalize("NFC"), Buffer.concat([Buffer.from(SCRYPT_INFO), salt]), 32, {
    N,
    r: 8,
    p: 1,
    maxmem: 1100 * N + (1 << 20),
  });
}

const ZERO = Buffer.alloc(12);

function seal(key: Buffer, fileKey: Buffer): Buffer {
  const cipher = createCipheriv("chacha20-poly1305", key, ZERO, { authTagLength: 16 });
  return Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Buffer, body: Buffer): Buffer | undefined {
  if (body.length !== FILE_KEY + 16) return undefined;
  const decipher = createDecipheriv("chacha20-poly1305", key, ZERO, { authTagLength: 16 });
  decipher.setAuthTag(body.subarray(FILE_KEY));
  return Buffer.concat([decipher.update(body.subarray(0, FILE_KEY)), decipher.final()]);
}

function macOf(fileKey: Buffer, text: string): Buffer {
  const key = Buffer.from(hkdfSync("sha256", fileKey, "", "header", 32));
  return createHmac("sha256", key).update(text, "latin1").digest();
}

function keyBytes(text: string, prefix: string): Buffer | undefined {
  const decoded = decodeBech32(text.trim());
  return decoded?.prefix === prefix && decoded.bytes.length === 32 ? Buffer.from(decoded.bytes) : undefined;
}

function raw(publicKey: KeyObject): Buffer {
  return publicKey.export({ format: "der", type: "spki" }).subarray(-32);
}

function bare(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}

function quietly<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import ssh2 from "ssh2";
import { SEED_BYTES, type SshKey, sshKey } from "../core/ssh-key.ts";

/** The daemon's own key pair: the only one that machines let in as root. */
export type DaemonKey = SshKey;

declare const pinned: unique symbol;
/** A host key somebody vouched for, `ssh-ed25519 AAAA…`. Only {@link parseHostKey} makes one, so nobody connects without. */
export type HostKey = string & { readonly [pinned]: true };

/** The key without its comment; undefined when the text is no ed25519 public key in OpenSSH's form. */
export function parseHostKey(text: string): HostKey | undefined {
  const [type, data] = text.trim().split(/\s+/);
  if (type !== "ssh-ed25519" || !data) return undefined;
  const key = ssh2.utils.parseKey(`${type} ${data}`);
  return key instanceof Error ? undefined : (`${type} ${data}` as HostKey);
}

/** The wire form of a host key as `known_hosts` writes it. */
export function hostKeyText(wire: Buffer): string {
  const length = wire.length >= 4 ? wire.readUInt32BE(0) : 0;
  return `${wire.subarray(4, 4 + length).toString("latin1")} ${wire.toString("base64")}`;
}

/** Reads the key pair, or makes it the first time. */
export async function daemonKey(dir: string): Promise<DaemonKey> {
  const file = join(dir, "id_ed25519");
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return undefined;
  });
  if (known !== undefined) return { privateKey: known, publicKey: publicOf(known) };
  const made = sshKey(randomBytes(SEED_BYTES), "ironwright");
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await writeDurably(file, made.privateKey, 0o600);
  await writeDurably(`${file}.pub`, `${made.publicKey}\n`, 0o644);
  return made;
}

function publicOf(privateKey: string): string {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  return `${parsed.type} ${parsed.getPublicSSH().toString("base64")} ironwright`;
}

async function writeDurably(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(`${file}.new`, "w", mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}

import { X509Certificate } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readIfThere } from "../supervise/index.ts";

/** Sixteen bytes in hexadecimal. In no backup: a directory made of one is another. */
const FILE = "host-id";
const BYTES = 16;

/**
 * Which host it is: the fingerprint of its own authority, made once. Where the host control plane is somebody else's there is none:
 * then it is a number that the data directory got the first time it was asked for.
 */
export function hostOf(dataDir: string, random: (bytes: number) => Buffer): string {
  const authority = join(dataDir, "pki", "host", "server-ca.crt");
  if (existsSync(authority)) return new X509Certificate(readFileSync(authority)).fingerprint256.replaceAll(":", "").toLowerCase();
  const file = join(dataDir, FILE);
  const id = (readIfThere(file) ?? made(file, dataDir, random)).trim();
  if (!/^[0-9a-f]{32}$/.test(id)) throw new Error(`${file} is not as it was made: remove it, and backups so far are another host's`);
  return id;
}

/** Whole or not there, and whoever comes first is right: a command and the daemon may ask at once. */
function made(file: string, dataDir: string, random: (bytes: number) => Buffer): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const beside = `${file}.${random(6).toString("hex")}.new`;
  writeFileSync(beside, `${random(BYTES).toString("hex")}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(beside, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(beside, { force: true });
  }
  return readFileSync(file, "utf8");
}

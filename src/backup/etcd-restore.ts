import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import { createCa, freePort, issue } from "../supervise/index.ts";
import { connectEtcd, type Etcd } from "../tenant/index.ts";
import { type Entry, type KeyValue, readContent } from "./content.ts";

export interface EtcdRestore {
  readonly etcdPath: string;
  /** The member's name, as the one that will be run there. */
  readonly member: string;
  /** Where its data is to be; made here. */
  readonly dataDir: string;
  /** For what is needed meanwhile; the caller removes it. */
  readonly scratch: string;
  readonly content: string;
  /** Revision of the backup. */
  readonly revision: bigint;
  readonly clock: Clock;
}

/**
 * So many writes since the backup are allowed for, as upstream advises. Clients that outlive the restore (kubelets) hold revisions
 * from after the backup: all of them must lie in the compacted past, or their watches would wait in silence for a future.
 */
export const BUMP = 1_000_000_000n;
const MARKER = "ironwright-restore";
const READY_MS = 60_000;
const POLL_MS = 50;
const MOST_OPERATIONS = 100;
const BATCH_BYTES = 512 * 1024;
const AT_ONCE = 4;

/**
 * Makes the data of an etcd from content: a new member takes every key by its API, then its revision is moved beyond all that
 * anybody may have seen, and what is before is compacted. @throws IRW_RESTORE_FAILED
 */
export async function restoreEtcd(options: EtcdRestore): Promise<{ readonly keys: number; readonly revision: bigint }> {
  const failed = (reason: string, cause?: unknown) =>
    new IronwrightError("IRW_RESTORE_FAILED", { what: `the data of ${options.member}`, reason }, cause);
  try {
    mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
    const { keys, leased, at } = await running(options, async (etcd) => {
      const put = await putAll(etcd, options.content);
      const answer = await etcd.call("kv/put", { key: base64(MARKER), value: "" });
      return { ...put, at: revisionOf(answer) };
    });
    const beyond = options.revision + BUMP;
    if (at >= beyond) throw failed(`it is at revision ${at} already`);
    if (moveRevision(join(options.dataDir, "member", "snap", "db"), at, beyond) === 0) throw failed("its last revision is not in its file");
    const revision = await running(options, async (etcd) => {
      const now = revisionOf(await etcd.call("kv/deleterange", { key: base64(MARKER) }));
      if (now <= beyond) throw failed(`it is at revision ${now}, not beyond ${beyond}`);
      await etcd.call("kv/compaction", { revision: String(now), physical: true });
      const { count = "0" } = await etcd.call("kv/range", { key: "AA==", range_end: "AA==", count_only: true });
      // those with a lease may have ended meanwhile
      if (Number(count) > keys || Number(count) < keys - leased) throw failed(`it holds ${String(count)} keys of ${keys}`);
      return now;
    });
    return { keys, revision };
  } catch (error) {
    if (isError(error, "IRW_BACKUP_ARCHIVE") || isError(error, "IRW_RESTORE_FAILED")) throw error;
    throw failed(reasonOf(error), error);
  }
}

/** Every key, in transactions of many; leases are granted as they come, and end as they would have. */
async function putAll(etcd: Etcd, content: string): Promise<{ readonly keys: number; readonly leased: number }> {
  let [keys, leased] = [0, 0];
  let batch: KeyValue[] = [];
  let bytes = 0;
  const under = new Set<Promise<unknown>>();
  const flush = async () => {
    if (batch.length === 0) return;
    const success = batch.map(({ key, value, lease }) => ({
      requestPut: { key: key.toString("base64"), value: value.toString("base64"), ...(lease === 0n ? {} : { lease: String(lease) }) },
    }));
    [batch, bytes] = [[], 0];
    const sent: Promise<unknown> = etcd.call("kv/txn", { success }).finally(() => under.delete(sent));
    // thrown where it is awaited
    sent.catch(() => {});
    under.add(sent);
    if (under.size >= AT_ONCE) await Promise.race(under);
  };
  for await (const entry of readContent(content)) {
    if (isLease(entry)) {
      await etcd.call("lease/grant", { ID: String(entry.lease), TTL: String(entry.seconds) });
      continue;
    }
    batch.push(entry);
    bytes += entry.key.length + entry.value.length;
    keys += 1;
    if (entry.lease !== 0n) leased += 1;
    if (batch.length >= MOST_OPERATIONS || bytes >= BATCH_BYTES) await flush();
  }
  await flush();
  await Promise.all(under);
  return { keys, leased };
}

function isLease(entry: Entry): entry is Extract<Entry, { seconds: number }> {
  return "seconds" in entry;
}

/**
 * Writes another revision over one in etcd's file, which is at rest: keys of its bucket are revisions (8 bytes, `_`, 8 bytes), so
 * the last one may grow and stays the last. bbolt has checksums over its meta pages alone. @returns in how many places
 */
export function moveRevision(file: string, from: bigint, to: bigint): number {
  const [before, after] = [revisionKey(from), revisionKey(to)];
  const fd = openSync(file, "r+");
  try {
    let places = 0;
    const window = Buffer.alloc((1 << 20) + before.length - 1);
    for (let at = 0; ; at += 1 << 20) {
      const length = readSync(fd, window, 0, window.length, at);
      if (length === 0) break;
      const seen = window.subarray(0, length);
      for (let found = seen.indexOf(before); found >= 0 && found < 1 << 20; found = seen.indexOf(before, found + 1)) {
        writeSync(fd, after, 0, after.length, at + found);
        places += 1;
      }
    }
    fsyncSync(fd);
    return places;
  } finally {
    closeSync(fd);
  }
}

function revisionKey(main: bigint): Buffer {
  const key = Buffer.alloc(17);
  key.writeBigUInt64BE(main, 0);
  key[8] = "_".charCodeAt(0);
  return key;
}

/** Runs the etcd for as long as it is used, behind certificates that nobody else has and that end with it. */
async function running<T>(options: EtcdRestore, use: (etcd: Etcd) => Promise<T>): Promise<T> {
  const { etcdPath, member, dataDir, scratch, clock } = options;
  const pki = await certificates(scratch, member);
  const endpoint = `https://127.0.0.1:${await freePort()}`;
  const log: Buffer[] = [];
  const child = spawn(
    etcdPath,
    [
      `--name=${member}`,
      `--data-dir=${dataDir}`,
      `--listen-client-urls=${endpoint}`,
      `--advertise-client-urls=${endpoint}`,
      "--listen-peer-urls=unix://peer:0",
      "--initial-advertise-peer-urls=unix://peer:0",
      `--initial-cluster=${member}=unix://peer:0`,
      `--cert-file=${pki.certificate}`,
      `--key-file=${pki.key}`,
      `--trusted-ca-file=${pki.authority}`,
      "--client-cert-auth",
      `--quota-backend-bytes=${8 * 2 ** 30}`,
      `--max-request-bytes=${16 << 20}`,
      "--log-level=warn",
    ],
    { cwd: scratch, stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = once(child, "close");
  // told by the call that it does not answer
  ended.catch(() => {});
  child.stderr.on("data", (bytes: Buffer) => log.push(bytes));
  const etcd = connectEtcd({ endpoint, tls: pki.tls });
  try {
    await answers(etcd, child, log, clock);
    return await use(etcd);
  } finally {
    await etcd.close();
    if (child.exitCode === null && child.signalCode === null && child.kill("SIGTERM")) await ended.catch(() => {});
  }
}

async function answers(etcd: Etcd, child: { readonly exitCode: number | null }, log: readonly Buffer[], clock: Clock): Promise<void> {
  const end = clock.now().getTime() + READY_MS;
  for (;;) {
    try {
      await etcd.call("kv/range", { key: "AA==" });
      return;
    } catch (error) {
      const tail = Buffer.concat(log).toString("utf8").trimEnd().split("\n").slice(-5).join("\n");
      if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}:\n${tail}`);
      if (clock.now().getTime() > end) throw new Error(`etcd does not answer: ${reasonOf(error)}\n${tail}`);
      await clock.sleep(POLL_MS);
    }
  }
}

async function certificates(scratch: string, member: string) {
  const ca = await createCa(`restore of ${member}`);
  const leaf = await issue({ ca, days: 1, commonName: "", sans: ["127.0.0.1", "localhost"], usages: ["server", "client"] });
  const file = (name: string, text: string) => {
    const path = join(scratch, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return {
    authority: file("ca.crt", ca.certificate),
    certificate: file("etcd.crt", leaf.certificate),
    key: file("etcd.key", leaf.key),
    tls: { ca: ca.certificate, cert: leaf.certificate, key: leaf.key },
  };
}

function revisionOf(answer: Readonly<Record<string, unknown>>): bigint {
  return BigInt((answer.header as { revision: string }).revision);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

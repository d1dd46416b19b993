import { X509Certificate } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createCa, crossSign, issue, type KeyedCertificate, needsRenewal } from "../supervise/index.ts";
import { LONG_OVER_MS } from "./certificates.ts";
import { readText, writePrivate } from "./files.ts";

/** The authority of one etcd, as its users need it. */
export interface ShardAuthority {
  /** What issues now. */
  readonly issuer: KeyedCertificate;
  /** PEM of all to trust, the issuer first. */
  readonly trust: string;
  /** What stands behind each certificate: the issuer as the one before it certified it, while that one may still be all that somebody knows. */
  readonly chain: string;
}

/** The next one is made and trusted when so much of life is left. */
const TRUSTED_AT = 1 / 4;
/** It issues when so much is left. etcd and apiservers read authorities at start alone: each has the years in between to be started once. */
const ISSUES_AT = 1 / 10;

export type AuthorityStep = "keep" | "make the next" | "let the next issue";

/** What is due of an authority: pure. */
export function authorityStep(certificate: string, hasNext: boolean, now: Date): AuthorityStep {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const left = (validToDate.getTime() - now.getTime()) / (validToDate.getTime() - validFromDate.getTime());
  if (left < TRUSTED_AT && !hasNext) return "make the next";
  return left < ISSUES_AT && hasNext ? "let the next issue" : "keep";
}

/**
 * The authority in a directory, made when there is none; the next one follows by itself, years before the end. Files: `ca`
 * issues, `next` is trusted and waits, `old` has issued and is trusted until it ends.
 */
export async function shardAuthority(dir: string, name: string, now: Date, clockIsGood = true): Promise<ShardAuthority> {
  let next = await read(dir, "next");
  let current = await read(dir, "ca");
  if (!current) {
    current = await createCa(name, { now });
    await write(dir, "ca", current);
  }
  // killed between the two files of a change
  if (next && current.key === next.key) {
    await write(dir, "ca", next);
    current = next;
  }
  const step = clockIsGood ? authorityStep(current.certificate, next !== undefined, now) : "keep";
  if (step === "make the next") {
    next = await createCa(`${name} ${now.getUTCFullYear()}`, { now });
    await write(dir, "next", next);
  }
  if (step === "let the next issue" && next) {
    // whoever is killed in between finds `next`, which goes last
    await writePrivate(join(dir, "chain.crt"), await crossSign(next, current));
    await writePrivate(join(dir, "old.crt"), current.certificate);
    await write(dir, "ca", next);
    current = next;
  }
  if (next?.certificate === current.certificate) {
    for (const file of ["next.crt", "next.key"]) await rm(join(dir, file), { force: true });
    next = undefined;
  }
  const old = await readText(join(dir, "old.crt"));
  const known = old && new X509Certificate(old).validToDate > now ? old : undefined;
  const trust = current.certificate + (next?.certificate ?? "") + (known ?? "");
  await writePrivate(join(dir, "ca-bundle.crt"), trust);
  return { issuer: current, trust, chain: known ? ((await readText(join(dir, "chain.crt"))) ?? "") : "" };
}

/**
 * What speaks against a clock, by a certificate that a better one issued and renewed in time: it is `behind` the issue, or far
 * `ahead` of the end, as after months off.
 */
export function clockAgainst(certificate: string, now: Date): "behind" | "ahead" | undefined {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  if (now < validFromDate) return "behind";
  return now.getTime() - validToDate.getTime() > LONG_OVER_MS ? "ahead" : undefined;
}

/** A certificate of this authority, and what stands behind it. */
export async function issueOf(
  { issuer, chain }: ShardAuthority,
  request: Omit<Parameters<typeof issue>[0], "ca">,
): Promise<KeyedCertificate> {
  const { certificate, key } = await issue({ ...request, ca: issuer });
  return { certificate: certificate + chain, key };
}

/** Whether a certificate is the issuer's and has life left. */
export function isCurrent(certificate: string, { issuer }: ShardAuthority, now: Date): boolean {
  const authority = new X509Certificate(issuer.certificate);
  return !needsRenewal(certificate, now) && new X509Certificate(certificate).verify(authority.publicKey);
}

async function read(dir: string, file: string): Promise<KeyedCertificate | undefined> {
  const [certificate, key] = [await readText(join(dir, `${file}.crt`)), await readText(join(dir, `${file}.key`))];
  return certificate && key ? { certificate, key } : undefined;
}

/** The key first: a certificate on disk means that both are there. */
async function write(dir: string, file: string, { certificate, key }: KeyedCertificate): Promise<void> {
  await writePrivate(join(dir, `${file}.key`), key);
  await writePrivate(join(dir, `${file}.crt`), certificate);
}

import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { authorityStep, clockAgainst, isCurrent, issueOf, shardAuthority } from "./shard-authority.ts";

const START = new Date("2026-01-01T00:00:00Z");
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-shard-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function inYears(years: number): Date {
  return new Date(START.getTime() + years * 365 * 86_400_000);
}

function look(years: number) {
  return shardAuthority(dir, "ironwright shard", inYears(years));
}

function authorities(pem: string): string[] {
  return pem.split(/(?=-----BEGIN)/).map((one) => new X509Certificate(one).subject);
}

test.each([
  [0, false, "keep"],
  [7.4, false, "keep"],
  [7.6, false, "make the next"],
  [7.6, true, "keep"],
  [9.1, true, "let the next issue"],
] as const)("after %d years, next there %s: %s", async (years, hasNext, step) => {
  const { issuer } = await look(0);
  expect(authorityStep(issuer.certificate, hasNext, inYears(years))).toBe(step);
});

test("ten years and more: the next is trusted, then issues, then is alone; who knows one of them is never cut off", async () => {
  const first = await look(0);
  expect(await look(7)).toEqual(first);

  const trusted = await look(8);
  expect(trusted.issuer).toEqual(first.issuer);
  expect(authorities(trusted.trust)).toEqual(["CN=ironwright shard", "CN=ironwright shard 2033"]);
  expect(trusted.chain).toBe("");

  const second = await look(9.5);
  expect(authorities(second.trust)).toEqual(["CN=ironwright shard 2033", "CN=ironwright shard"]);
  expect(readFileSync(join(dir, "ca-bundle.crt"), "utf8")).toBe(second.trust);
  const { certificate } = await issueOf(second, { commonName: "uid", usages: ["client"], days: 7, now: inYears(9.5) });
  const [leaf = "", between = ""] = certificate.split(/(?=-----BEGIN)/);
  // by the new one, and by the old one through what stands behind the leaf
  expect(new X509Certificate(leaf).verify(new X509Certificate(second.issuer.certificate).publicKey)).toBe(true);
  expect(new X509Certificate(leaf).verify(new X509Certificate(between).publicKey)).toBe(true);
  expect(new X509Certificate(between).verify(new X509Certificate(first.issuer.certificate).publicKey)).toBe(true);
  expect(isCurrent(leaf, second, inYears(9.5))).toBe(true);
  expect(isCurrent(leaf, first, inYears(9.5))).toBe(false);

  const alone = await look(10.1);
  expect(authorities(alone.trust)).toEqual(["CN=ironwright shard 2033"]);
  expect(alone.chain).toBe("");
  expect(existsSync(join(dir, "next.key"))).toBe(false);
});

test("by a clock in doubt no authority is made or changed", async () => {
  const first = await look(0);
  expect(await shardAuthority(dir, "ironwright shard", inYears(9.5), false)).toEqual(first);
});

test.each([
  [-0.1, "behind"],
  [0.1, undefined],
  [0.3, undefined],
  [1, "ahead"],
])("a certificate of 90 days says of a clock after %d years: %s", async (years, against) => {
  const { certificate } = await issueOf(await look(0), { commonName: "s", usages: ["server"], days: 90, now: START });
  expect(clockAgainst(certificate, inYears(years))).toBe(against);
});

test("a daemon killed between the two files of a change finishes it", async () => {
  await look(0);
  await look(8);
  const next = readFileSync(join(dir, "next.key"), "utf8");
  const nextCertificate = readFileSync(join(dir, "next.crt"), "utf8");
  const before = readFileSync(join(dir, "ca.crt"), "utf8");
  writeFileSync(join(dir, "old.crt"), before);
  writeFileSync(join(dir, "ca.key"), next);
  expect((await look(9.5)).issuer).toEqual({ certificate: nextCertificate, key: next });
});

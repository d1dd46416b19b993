import { execFile } from "node:child_process";
import { createPrivateKey, createPublicKey, sign, verify, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCa, createSigningKeys, crossSign, fingerprint, issue, type KeyedCertificate, needsRenewal } from "./pki.ts";

const run = promisify(execFile);

let ca: KeyedCertificate;
let other: KeyedCertificate;
let leaf: KeyedCertificate;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-pki-"));
  ca = await createCa("ironwright test");
  other = await createCa("another");
  leaf = await issue({
    ca,
    commonName: "kube-apiserver",
    organizations: ["system:masters", "second"],
    sans: ["kubernetes.default.svc", "10.77.254.2", "::1"],
    usages: ["server"],
    days: 365,
  });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("node:crypto accepts the chain, and only of that authority", () => {
  const certificate = new X509Certificate(leaf.certificate);
  const authority = new X509Certificate(ca.certificate);
  expect(authority.ca).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.verify(authority.publicKey)).toBe(true);
  expect(certificate.checkIssued(authority)).toBe(true);
  expect(certificate.verify(new X509Certificate(other.certificate).publicKey)).toBe(false);
  expect(certificate.checkPrivateKey(createPrivateKey(leaf.key))).toBe(true);
  expect(certificate.subject).toBe("O=system:masters\nO=second\nCN=kube-apiserver");
  expect(certificate.checkHost("kubernetes.default.svc")).toBeDefined();
  expect(certificate.checkIP("10.77.254.2")).toBeDefined();
  expect(certificate.checkIP("::1")).toBeDefined();
  expect(certificate.checkIP("10.77.254.3")).toBeUndefined();
});

describe("openssl agrees", () => {
  async function openssl(...args: string[]): Promise<string> {
    return (await run("openssl", args)).stdout;
  }
  function file(name: string, content: string): string {
    const path = join(dir, name);
    writeFileSync(path, content);
    return path;
  }

  test("the server's certificate is good for servers and not for clients", async () => {
    const authority = file("ca.pem", ca.certificate);
    const server = file("server.pem", leaf.certificate);
    await expect(openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority, server)).resolves.toContain("OK");
    await expect(openssl("verify", "-purpose", "sslclient", "-CAfile", authority, server)).rejects.toThrow();
    await expect(openssl("verify", "-CAfile", file("other.pem", other.certificate), server)).rejects.toThrow();
  });

  test("the client's certificate is good for clients", async () => {
    const client = await issue({ ca, commonName: "admin", organizations: ["system:masters"], usages: ["client"], days: 1 });
    const path = file("client.pem", client.certificate);
    await expect(
      openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", file("ca.pem", ca.certificate), path),
    ).resolves.toContain("OK");
    await expect(openssl("x509", "-in", path, "-noout", "-ext", "keyUsage,extendedKeyUsage")).resolves.toMatch(
      /critical\s+Digital Signature\s+X509v3 Extended Key Usage:\s+TLS Web Client Authentication/,
    );
  });

  test("who knows the old authority alone accepts a leaf of the new one, by what stands behind it", async () => {
    const next = await createCa("ironwright test 2");
    const client = await issue({ ca: next, commonName: "admin", usages: ["client"], days: 1 });
    const between = file("between.pem", await crossSign(next, ca));
    const [old, path] = [file("ca.pem", ca.certificate), file("next-client.pem", client.certificate)];
    await expect(openssl("verify", "-x509_strict", "-CAfile", old, "-untrusted", between, path)).resolves.toContain("OK");
    await expect(openssl("verify", "-CAfile", old, path)).rejects.toThrow();
    await expect(openssl("verify", "-CAfile", file("other.pem", other.certificate), "-untrusted", between, path)).rejects.toThrow();
  });

  test("fingerprint", async () => {
    const authority = file("ca.pem", ca.certificate);
    const shown = await openssl("x509", "-in", authority, "-noout", "-fingerprint", "-sha256");
    expect(shown.trim().split("=")[1]?.replaceAll(":", "").toLowerCase()).toBe(fingerprint(ca.certificate));
  });
});

test("a leaf does not outlive its authority, and is renewed in the last third of its life", async () => {
  const short = await createCa("short", { days: 3 });
  const long = await issue({ ca: short, commonName: "long", usages: ["client"], days: 365 });
  const certificate = new X509Certificate(long.certificate);
  expect(certificate.validToDate).toEqual(new X509Certificate(short.certificate).validToDate);
  const start = Date.now();
  expect(needsRenewal(long.certificate, new Date(start))).toBe(false);
  expect(needsRenewal(long.certificate, new Date(start + 1.9 * 86_400_000))).toBe(false);
  expect(needsRenewal(long.certificate, new Date(start + 2.1 * 86_400_000))).toBe(true);
  expect(needsRenewal(long.certificate, new Date(start + 9 * 86_400_000))).toBe(true);
});

test("serial numbers are positive, at most 20 octets and never twice", async () => {
  const serials = await Promise.all(
    Array.from({ length: 20 }, async () => new X509Certificate((await createCa("x")).certificate).serialNumber),
  );
  expect(new Set(serials).size).toBe(20);
  for (const one of serials) expect(one).toMatch(/^[4-7][0-9A-F]{31}$/);
});

test("service account keys sign and verify", async () => {
  const keys = await createSigningKeys();
  const data = Buffer.from("token");
  const signature = sign("sha256", data, createPrivateKey(keys.privateKey));
  expect(verify("sha256", data, createPublicKey(keys.publicKey), signature)).toBe(true);
});

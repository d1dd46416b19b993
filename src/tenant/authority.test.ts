import { generateKeyPairSync } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { createCa, issue, type KeyedCertificate } from "../supervise/index.ts";
import { checkedAuthority } from "./authority.ts";

const NOW = new Date("2026-06-01T00:00:00Z");
const BEGAN = new Date("2026-01-01T00:00:00Z");
let ca: KeyedCertificate;
let other: KeyedCertificate;

beforeAll(async () => {
  ca = await createCa("mine", { now: BEGAN });
  other = await createCa("other", { now: BEGAN });
});

test("an authority is taken as it is", () => {
  expect(checkedAuthority(ca.certificate, ca.key, NOW)).toEqual(ca);
});

test("RSA is taken too, and issues", async () => {
  const rsa = await createCa("rsa", { algorithm: "rsa", now: BEGAN });
  const checked = checkedAuthority(rsa.certificate, rsa.key, NOW);
  if (typeof checked === "string") throw new Error(checked);
  expect((await issue({ ca: checked, commonName: "x", usages: ["client"], days: 1 })).certificate).toContain("BEGIN CERTIFICATE");
});

test.each<[string, () => Promise<[string, string]> | [string, string], string]>([
  ["no PEM", () => ["x", "y"], "tls.crt and tls.key must be PEM"],
  ["another's key", () => [ca.certificate, other.key], "tls.key is not the key of tls.crt"],
  ["a bundle", () => [ca.certificate + other.certificate, ca.key], "tls.crt must be one certificate"],
  [
    "a leaf",
    async () => {
      const leaf = await issue({ ca, commonName: "leaf", usages: ["client"], days: 300, now: BEGAN });
      return [leaf.certificate, leaf.key];
    },
    "not an authority's",
  ],
  [
    "one that ended",
    async () => {
      const short = await createCa("short", { days: 1, now: BEGAN });
      return [short.certificate, short.key];
    },
    "tls.crt ended 2026-01-02",
  ],
  [
    "one that has not begun",
    async () => {
      const late = await createCa("late", { now: new Date("2027-01-01T00:00:00Z") });
      return [late.certificate, late.key];
    },
    "good only from 2026-12-31",
  ],
  [
    "a key without a certificate",
    () => ["", generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString()],
    "must be PEM",
  ],
])("%s is refused", async (_, make, says) => {
  const [certificate, key] = await make();
  expect(checkedAuthority(certificate, key, NOW)).toContain(says);
});

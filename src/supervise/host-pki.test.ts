import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { certificatesIn, hostPki, kubeconfigOf, serverOf } from "./host-pki.ts";

const DAY = 86_400_000;
/** The authorities are made by the machine's own clock. */
const NOW = Date.now() + DAY;
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-host-pki-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function onDay(days: number): Date {
  return new Date(NOW + days * DAY);
}

async function adminOn(days: number): Promise<X509Certificate> {
  return new X509Certificate((await hostPki(dir, [], onDay(days))).admin.certificate);
}

test("leaves are renewed when a third is left, authorities stay", async () => {
  const first = await hostPki(dir, [], onDay(0));
  expect((await hostPki(dir, [], onDay(240))).admin).toEqual(first.admin);
  const later = await hostPki(dir, [], onDay(250));
  expect(later.admin).not.toEqual(first.admin);
  expect(later.serverCa).toBe(first.serverCa);
});

test("what a clock made that was ahead is made again when it is right", async () => {
  await adminOn(0);
  expect((await adminOn(800)).validFromDate > onDay(700)).toBe(true);
  const again = await adminOn(1);
  expect(again.validFromDate <= onDay(1)).toBe(true);
  expect(again.validToDate > onDay(300)).toBe(true);
});

test("every certificate is known, with its end and whether it is late", async () => {
  await hostPki(dir, [], onDay(0));
  const names = certificatesIn(dir, onDay(1)).map((one) => one.name);
  expect(names).toEqual(["admin", "apiserver", "client-ca", "etcd-ca", "etcd-client", "etcd-server", "server-ca"]);
  const late = (days: number) => certificatesIn(dir, onDay(days)).filter((one) => one.late);
  expect(late(200)).toEqual([]);
  expect(late(300).map((one) => one.name)).toEqual(["admin", "apiserver", "etcd-client", "etcd-server"]);
  expect(late(3000).filter((one) => one.issuer)).toHaveLength(3);
  expect(certificatesIn(join(dir, "absent"), onDay(0))).toEqual([]);
});

test("a kubeconfig of ours names its server", async () => {
  const { serverCa, admin } = await hostPki(dir, [], onDay(0));
  expect(serverOf(kubeconfigOf("ironwright", "https://127.0.0.1:6443", serverCa, admin))).toBe("https://127.0.0.1:6443");
});

import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { openBootIdentity } from "./https.ts";

const log = pino({ level: "silent" });
const HOUR = 3_600_000;

let directory: string;
let now: Date;
/** Ends the sleep the identity is in. */
let tick: () => void;
const clock: Clock = {
  now: () => now,
  sleep: (_, signal) =>
    new Promise((resolve, reject) => {
      tick = resolve;
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
};
const open = (https = {}) =>
  openBootIdentity({ https: { port: 8443, httpBoot: false, ...https }, directory, addresses: ["127.0.0.1"], clock, log });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-https-"));
  now = new Date();
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a certificate of our own authority: RSA, for our addresses, kept over a restart and renewed while it serves", {
  timeout: 60_000,
}, async () => {
  const identity = await open();
  const first = identity.current();
  const certificate = new X509Certificate(first.certificate);
  expect([certificate.publicKey.asymmetricKeyType, certificate.checkIP("127.0.0.1")]).toEqual(["rsa", "127.0.0.1"]);
  const again = await open();
  expect(again.current()).toEqual(first);
  await again.stop();

  const server = createServer({ cert: first.certificate, key: first.key }, (_, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = server.address();
  const port = typeof at === "object" && at ? at.port : 0;
  expect(await serial(port)).toBe(certificate.serialNumber);
  const third = await open();
  third.follow(server);
  now = new Date(now.getTime() + 61 * 24 * HOUR);
  tick();
  await expect.poll(() => third.current().certificate, { timeout: 20_000 }).not.toBe(first.certificate);
  expect(await serial(port)).toBe(new X509Certificate(third.current().certificate).serialNumber);
  await third.stop();
  await identity.stop();
  await new Promise((resolve) => server.close(resolve).closeAllConnections());
});

test("a certificate that was handed in is read again when it changes; one that is none is refused", { timeout: 60_000 }, async () => {
  const own = await open();
  await own.stop();
  const certificate = join(directory, "site.crt");
  const key = join(directory, "site.key");
  writeFileSync(certificate, own.current().certificate);
  writeFileSync(key, own.current().key);
  const identity = await open({ certificate, key });
  expect(identity.current()).toEqual(own.current());
  now = new Date(now.getTime() + 61 * 24 * HOUR);
  const renewed = await open();
  await renewed.stop();
  await identity.stop();
  const later = await open({ certificate, key });
  writeFileSync(key, renewed.current().key);
  writeFileSync(certificate, renewed.current().certificate);
  tick();
  await expect.poll(() => later.current().certificate, { timeout: 20_000 }).toBe(renewed.current().certificate);
  await later.stop();
  writeFileSync(key, own.current().key);
  await expect(open({ certificate, key })).rejects.toThrow("the key is not the certificate's");
  writeFileSync(certificate, "none");
  await expect(open({ certificate, key })).rejects.toMatchObject({ code: "IRW_CONFIG_INVALID" });
});

/** Of the certificate served, by a client that trusts our authority alone. */
function serial(port: number): Promise<string> {
  const ca = readFileSync(join(directory, "boot-ca.crt"), "utf8");
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, ca, agent: false }, (response) => {
      const { socket } = response.resume();
      resolve("getPeerCertificate" in socket ? (socket as import("node:tls").TLSSocket).getPeerCertificate().serialNumber : "");
    }).once("error", reject);
  });
}

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { createLog } from "../observe/index.ts";
import { createCa } from "../supervise/index.ts";
import { newIdentity } from "./age-header.ts";
import { prune, takeBackup } from "./backup.ts";
import { belongs } from "./contents.ts";
import { hostOf } from "./host-id.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "iwh-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("hosts whose control plane is elsewhere are told apart, and keep their backups in one directory", async () => {
  const to = join(dir, "shared");
  mkdirSync(to);
  // as they were named when all such hosts had one name
  const nameless = "ironwright-external-20260101T031500Z.age";
  writeFileSync(join(to, nameless), "");
  const take = (dataDir: string) =>
    takeBackup({
      dataDir: join(dir, dataDir),
      to: `${to}/`,
      lock: { recipients: [newIdentity().recipient] },
      tenants: true,
      config: {},
      versions: { ironwright: "0", kubernetes: "v0" },
      clock: systemClock,
      random: randomBytes,
      log: createLog("fatal"),
    });
  const [a, b] = [await take("a"), await take("b")];
  expect(a.manifest.host).not.toBe(b.manifest.host);
  expect(hostOf(join(dir, "a"), randomBytes)).toBe(a.manifest.host);
  for (const day of [1, 2, 3]) writeFileSync(join(to, `ironwright-${b.manifest.host.slice(0, 8)}-2025010${day}T031500Z.age`), "");
  expect(prune(to, a.manifest.host, 1)).toEqual([]);
  expect(prune(to, b.manifest.host, 1)).toHaveLength(3);
  expect(readdirSync(to).sort()).toEqual([nameless, ...[a, b].map(({ file }) => file.slice(to.length + 1))].sort());
  // nothing is left beside, and a restore does not bring it along
  expect(readdirSync(join(dir, "a")).filter((name) => name.startsWith("host-id"))).toEqual(["host-id"]);
  expect(belongs("host-id")).toBe(false);
});

test("who asks second gets what the first one made", () => {
  const data = join(dir, "c");
  let other = "";
  const first = hostOf(data, (bytes) => {
    // in between comes another process
    if (bytes === 16) other = hostOf(data, randomBytes);
    return randomBytes(bytes);
  });
  expect(first).toBe(other);
  expect(first).toMatch(/^[0-9a-f]{32}$/);
});

test("an authority of its own is the host's name, and a number that was spoiled is none", async () => {
  const data = join(dir, "d");
  mkdirSync(join(data, "pki", "host"), { recursive: true });
  writeFileSync(join(data, "host-id"), "");
  expect(() => hostOf(data, randomBytes)).toThrow(/host-id is not as it was made/);
  writeFileSync(join(data, "pki", "host", "server-ca.crt"), (await createCa("host")).certificate);
  expect(hostOf(data, randomBytes)).toMatch(/^[0-9a-f]{64}$/);
});

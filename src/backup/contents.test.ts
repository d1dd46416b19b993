import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
// what is copied must be what the boot plane reads
import { openLeaseLog } from "../boot/lease-log.ts";
import { isPartName } from "./archive.ts";
import { belongs, copyContents, partName } from "./contents.ts";
import { openFiles, unlimited } from "./open-files.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "iwc-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function put(root: string, name: string, text = name): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), text);
}

test("what cannot be made anew is copied, and nothing else", async () => {
  const from = join(dir, "from");
  const wanted = [
    "pki/host/etcd-ca.key",
    "host/encryption.yaml",
    "host/ports.json",
    "ssh/id",
    "boot-pki/boot-ca.key",
    "datastore/shard-0/root-password",
    "tenants/t/pki/ca.key",
  ];
  for (const name of wanted) put(from, name);
  for (const name of [
    "host/etcd/member/snap/db",
    "datastore/shard-0/data/member/wal/1.wal",
    "datastore/shard-0/etcd.log",
    "logs/x.log",
    "run/supervisor.json",
    "redis/appendonly.aof",
    "images/os",
    "tenants/t/logs/a",
  ])
    put(from, name);
  symlinkSync("/etc/passwd", join(from, "pki", "link"));
  const database = new DatabaseSync(join(from, "boot.sqlite"));
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)");
  const { files } = await copyContents(from, join(dir, "to"), { tenants: true });
  expect(files.toSorted()).toEqual([...wanted, "boot.sqlite"].toSorted());
  expect(new DatabaseSync(join(dir, "to", "boot.sqlite"), { readOnly: true }).prepare("SELECT x FROM t").all()).toEqual([{ x: 1 }]);
  database.close();

  const without = await copyContents(from, join(dir, "without"), { tenants: false });
  expect(without.files.filter((name) => /^(tenants|datastore)\//.test(name))).toEqual([]);
});

test("an archive brings back nothing else either", () => {
  for (const name of [
    "restored.json",
    "run/supervisor.sock",
    "host/etcd/member/snap/db",
    "leases/x",
    "leases/1.log/x",
    "logs/a",
    "tenants/t/.x",
    "kubeconfig",
  ])
    expect(belongs(name), name).toBe(false);
});

test("whatever is put below a tenant's home, the backup of the host is written, and says what it left out", async () => {
  const from = join(dir, "hostile");
  const home = "tenants/t";
  for (const name of ["pki/ca.key", "tenants/t/pki/ca.key", "tenants/u/pki/ca.key"]) put(from, name);
  for (const directory of ["audit", "door", "egress", "log", "outside", "run"]) put(from, `${home}/${directory}/x y`);
  put(from, `${home}/config/a blank`);
  put(from, `${home}/config/line\nbreak`);
  put(from, `${home}/config/${"x".repeat(200)}`);
  put(from, `${home}/config/${"d/".repeat(60)}deep`);
  execFileSync("mkfifo", [join(from, home, "config", "pipe")]);
  for (let number = 10; number < 20; number += 1) {
    put(from, `${home}/large/${number}`);
    truncateSync(join(from, home, "large", String(number)), 10 << 20);
  }
  put(from, `${home}/large/9`);
  truncateSync(join(from, home, "large", "9"), (16 << 20) + 1);
  const { files, skipped } = await copyContents(from, join(dir, "hostile-to"), { tenants: true });
  const large = files.filter((name) => name.includes("/large/"));
  expect(large).toHaveLength(3);
  expect(files.filter((name) => !large.includes(name))).toEqual(["pki/ca.key", "tenants/t/pki/ca.key", "tenants/u/pki/ca.key"]);
  expect(files.every((name) => isPartName(partName(name)))).toBe(true);
  const whys = skipped.map(({ name, why }) => `${name.split("/")[2]}: ${why}`);
  expect(whys.filter((why) => why === "config: it is no name of ours")).toHaveLength(3);
  expect(whys.filter((why) => why === "config: it is deeper than state of ours is")).toHaveLength(1);
  expect(whys.filter((why) => why.startsWith("large: there is more"))).toHaveLength(7);
  expect(whys.filter((why) => why.startsWith("large: it is too large"))).toHaveLength(1);
  expect(skipped).toHaveLength(12);

  for (let number = 0; number < 1_100; number += 1) put(from, `${home}/many/${number}`);
  const many = await copyContents(from, join(dir, "hostile-many"), { tenants: true });
  expect(many.skipped).toContainEqual({ name: `${home}/many`, why: "it holds more than state of ours does" });
  expect(many.files.length).toBeLessThan(1_100);
  expect(many.files).toContain("tenants/u/pki/ca.key");
});

test("a name that is none of ours among our own keys is a failure: the backup would not be whole", async () => {
  const from = join(dir, "ours");
  put(from, "pki/a blank");
  await expect(copyContents(from, join(dir, "ours-to"), { tenants: true })).rejects.toThrow(/"pki\/a blank".*no name of ours/);
});

test("what is swapped for a pipe or a link between the look and the opening is not followed, nor waited for", () => {
  const from = join(dir, "swapped");
  for (const name of ["t/a", "t/b", "t/d/e", "t/z"]) put(from, name);
  put(from, "outside/e", "secret");
  const seen: string[] = [];
  for (const found of openFiles(from, "t", () => true, unlimited())) {
    if ("why" in found) throw new Error(found.why);
    seen.push(`${found.name} ${readFileSync(found.fd, "utf8")}`);
    if (found.name !== "t/a") continue;
    // its entries are read by now
    rmSync(join(from, "t", "b"));
    execFileSync("mkfifo", [join(from, "t", "b")]);
    renameSync(join(from, "t", "d"), join(from, "gone"));
    symlinkSync(join(from, "outside"), join(from, "t", "d"));
    rmSync(join(from, "t", "z"));
    symlinkSync(join(from, "outside", "e"), join(from, "t", "z"));
  }
  expect(seen).toEqual(["t/a t/a"]);
});

test("a directory that was moved away while it is read is read to its end, and what stands in its place is not", () => {
  const from = join(dir, "moved");
  for (const name of ["t/d/a", "t/d/b"]) put(from, name);
  for (const name of ["outside/a", "outside/b"]) put(from, name, "secret");
  const seen: string[] = [];
  for (const found of openFiles(from, "t", () => true, unlimited())) {
    if ("why" in found) throw new Error(found.why);
    seen.push(readFileSync(found.fd, "utf8"));
    if (found.name !== "t/d/a") continue;
    renameSync(join(from, "t", "d"), join(from, "gone"));
    symlinkSync(join(from, "outside"), join(from, "t", "d"));
  }
  expect(seen).toEqual(["t/d/a", "t/d/b"]);
});

test("leases are copied as of one moment, while they are written and compacted", async () => {
  const from = join(dir, "busy");
  const leases = openLeaseLog({ directory: join(from, "leases"), compactAfter: 1_000 });
  let isOver = false;
  let last = 0;
  // each number is written after the one before it was: what is there must be a beginning of them all
  const writing = (async () => {
    for (let address = 1; !isOver; address += 1) {
      leases.put({ address, client: `id:${address}`, mac: "52:54:00:00:00:01", expires: address });
      await leases.flush();
      last = address;
    }
  })();
  // twice compacted, or nothing is shown
  const compactions = () => Math.max(...readdirSync(join(from, "leases")).map((name) => Number.parseInt(name, 10)));
  for (let copy = 0; copy < 30 || (compactions() < 3 && copy < 2_000); copy += 1) {
    const to = join(dir, `copy-${copy}`);
    const before = last;
    await copyContents(from, to, { tenants: true });
    const found = openLeaseLog({ directory: join(to, "leases") });
    const addresses = [...found.leases.keys()].toSorted((a, b) => a - b);
    expect(addresses).toEqual(addresses.map((_, at) => at + 1));
    expect(addresses.length).toBeGreaterThanOrEqual(before);
    await found.close();
  }
  isOver = true;
  await writing;
  await leases.close();
  expect(compactions()).toBeGreaterThanOrEqual(3);
});

import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
// what is copied must be what the boot plane reads
import { openLeaseLog } from "../boot/lease-log.ts";
import { belongs, copyContents } from "./contents.ts";

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

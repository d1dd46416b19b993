import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openLeaseLog } from "./lease-log.ts";
import { openBootStore } from "./store.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-store-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("leases that an older release kept in SQLite move to the log, and are gone from SQLite", async () => {
  const path = join(directory, "boot.sqlite");
  const old = new DatabaseSync(path);
  old.exec(`CREATE TABLE lease (interface TEXT NOT NULL, address INTEGER NOT NULL, client TEXT NOT NULL, mac TEXT NOT NULL,
    expires INTEGER NOT NULL, PRIMARY KEY (interface, address)) STRICT;
    INSERT INTO lease VALUES ('prov0', 172818442, 'id:ff00', '52:54:00:77:00:01', 1893456000000)`);
  old.close();

  const store = openBootStore(path);
  const leases = openLeaseLog({ directory: join(directory, "leases"), before: store.leases() });
  store.dropLeases();
  expect(store.leases()).toEqual([]);
  await leases.close();
  store.close();

  const again = openLeaseLog({ directory: join(directory, "leases"), before: openBootStore(path).leases() });
  expect([...again.leases.values()]).toEqual([{ address: 172818442, client: "id:ff00", mac: "52:54:00:77:00:01", expires: 1893456000000 }]);
  await again.close();
});

test("nobody else reads the nonces, wherever the data directory came from", () => {
  chmodSync(directory, 0o755);
  const path = join(directory, "boot.sqlite");
  const store = openBootStore(path);
  store.putFile({ nonce: "n", name: "f", path: "/f" });
  expect([path, `${path}-wal`].map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o600]);
  store.close();
});

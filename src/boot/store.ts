import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { BootRecord, InstallerHello } from "./contract.ts";
import type { Lease } from "./leases.ts";

/** The boot plane's memory. Every write is on disk when its call returns. */
export interface BootStore {
  records(): BootRecord[];
  putRecord(record: BootRecord): void;
  dropRecord(machine: string): void;
  hellos(): InstallerHello[];
  putHello(hello: InstallerHello): void;
  files(): ServedFile[];
  putFile(file: ServedFile): void;
  /** Everything that hangs on a nonce. */
  dropNonce(nonce: string): void;
  /** The leases an older release kept here; gone with {@link dropLeases}. */
  leases(): Lease[];
  dropLeases(): void;
  close(): void;
}

export interface ServedFile {
  readonly nonce: string;
  readonly name: string;
  readonly path: string;
}

const schema = `
  CREATE TABLE IF NOT EXISTS record (machine TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS hello (nonce TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS file (nonce TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (nonce, name)) STRICT;
`;

/** @param path of the database file, or `:memory:` */
export function openBootStore(path: string): BootStore {
  if (path !== ":memory:") {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // nonces are in it, and the data directory may have been made by others; SQLite gives its journal the same mode
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
  }
  const database = new DatabaseSync(path);
  // FULL: a hello that was answered survives the loss of power
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec(schema);
  const prepared = {
    putRecord: database.prepare("INSERT OR REPLACE INTO record (machine, json) VALUES (?, ?)"),
    dropRecord: database.prepare("DELETE FROM record WHERE machine = ?"),
    putHello: database.prepare("INSERT OR REPLACE INTO hello (nonce, json) VALUES (?, ?)"),
    dropHello: database.prepare("DELETE FROM hello WHERE nonce = ?"),
    putFile: database.prepare("INSERT OR REPLACE INTO file (nonce, name, path) VALUES (?, ?, ?)"),
    dropFiles: database.prepare("DELETE FROM file WHERE nonce = ?"),
  };
  const all = (sql: string) => database.prepare(sql).all();
  return {
    records: () => all("SELECT json FROM record").map((row) => JSON.parse(String(row.json)) as BootRecord),
    putRecord: (record) => void prepared.putRecord.run(record.machine, JSON.stringify(record)),
    dropRecord: (machine) => void prepared.dropRecord.run(machine),
    hellos: () => all("SELECT json FROM hello").map((row) => JSON.parse(String(row.json)) as InstallerHello),
    putHello: (hello) => void prepared.putHello.run(hello.nonce, JSON.stringify(hello)),
    files: () =>
      all("SELECT nonce, name, path FROM file").map((row) => ({
        nonce: String(row.nonce),
        name: String(row.name),
        path: String(row.path),
      })),
    putFile: (file) => void prepared.putFile.run(file.nonce, file.name, file.path),
    dropNonce(nonce) {
      prepared.dropHello.run(nonce);
      prepared.dropFiles.run(nonce);
    },
    leases() {
      if (all("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'lease'").length === 0) return [];
      return all("SELECT address, client, mac, expires FROM lease").map((row) => ({
        address: Number(row.address),
        client: String(row.client),
        mac: String(row.mac),
        expires: Number(row.expires),
      }));
    },
    dropLeases: () => database.exec("DROP TABLE IF EXISTS lease"),
    close: () => database.close(),
  };
}

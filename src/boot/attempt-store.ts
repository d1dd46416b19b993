import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Attempt } from "./attempt.ts";

/** Boot attempts on disk: what people look back at. Its loss costs history and nothing else, so nothing waits for its sync. */
export interface AttemptStore {
  /** The latest of each machine. */
  latest(): Attempt[];
  /** Of one machine, oldest first. */
  of(machine: string): Attempt[];
  /** The newest that have a model, newest first: what its history begins with. */
  recent(limit: number): Attempt[];
  /** All in one transaction. */
  put(attempts: readonly Attempt[]): void;
  drop(machine: string): void;
  close(): void;
}

/** Attempts kept of each machine. */
const KEPT = 20;

const schema = `
  CREATE TABLE IF NOT EXISTS attempt (
    machine TEXT NOT NULL, number INTEGER NOT NULL, started INTEGER NOT NULL, model TEXT, json TEXT NOT NULL,
    PRIMARY KEY (machine, number)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS attempt_of_model ON attempt (started) WHERE model IS NOT NULL;
`;

/** @param path of the database file, or `:memory:` */
export function openAttemptStore(path: string): AttemptStore {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  database.exec(schema);
  const put = database.prepare("INSERT OR REPLACE INTO attempt (machine, number, started, model, json) VALUES (?, ?, ?, ?, ?)");
  const trim = database.prepare("DELETE FROM attempt WHERE machine = ? AND number <= ?");
  const ofMachine = database.prepare("SELECT json FROM attempt WHERE machine = ? ORDER BY number");
  const recent = database.prepare("SELECT json FROM attempt WHERE model IS NOT NULL ORDER BY started DESC LIMIT ?");
  const latest = database.prepare("SELECT json, max(number) FROM attempt GROUP BY machine");
  const drop = database.prepare("DELETE FROM attempt WHERE machine = ?");
  const read = (rows: readonly Readonly<Record<string, unknown>>[]) => rows.map((row) => JSON.parse(String(row.json)) as Attempt);
  return {
    latest: () => read(latest.all()),
    of: (machine) => read(ofMachine.all(machine)),
    recent: (limit) => read(recent.all(limit)),
    put(attempts) {
      if (attempts.length === 0) return;
      database.exec("BEGIN");
      try {
        for (const attempt of attempts) {
          const { machine, number, startedAt, model } = attempt;
          put.run(machine, number, Date.parse(startedAt), model ?? null, JSON.stringify(attempt));
          trim.run(machine, number - KEPT);
        }
        database.exec("COMMIT");
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
    drop: (machine) => void drop.run(machine),
    close: () => database.close(),
  };
}

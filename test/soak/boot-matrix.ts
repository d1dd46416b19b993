import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { row } from "./row.ts";

/** The boot matrix with every row it has, one server at a time, each to the installer's hello. Its rows are those of `npm test`. */
const { values } = parseArgs({ options: { rows: { type: "string" } } });

const directory = mkdtempSync(join(tmpdir(), "ironwright-soak-matrix-"));
const file = join(directory, "rows.json");
const began = Date.now();
try {
  const only = values.rows === undefined ? [] : ["-t", values.rows];
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--project", "paired", ...only, "test/flow/boot-matrix.test.ts"];
  const { status } = spawnSync(process.execPath, vitest, { stdio: "inherit", env: { ...process.env, IRONWRIGHT_SOAK: file } });
  const rows = JSON.parse(readFileSync(file, "utf8")) as unknown[];
  console.log(row("boot-matrix", `${rows.length} rows`, status === 0 ? "all passed" : "not all passed", began));
  if (status !== 0) process.exitCode = 1;
} finally {
  rmSync(directory, { recursive: true });
}

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const repo = join(import.meta.dirname, "../..");

/** Biome and tsc are failures of the suite like any other, and show up in its report. */
test.each([
  ["biome", ["check", "--error-on-warnings", "--max-diagnostics=50", "--colors=off", "."]],
  ["tsc", ["-p", "."]],
])(
  "%s has no objection",
  (tool, args) => {
    const { status, stdout, stderr } = spawnSync(join(repo, "node_modules/.bin", tool), args, { cwd: repo, encoding: "utf8" });
    expect({ status, output: status === 0 ? "" : `${stdout}${stderr}` }).toEqual({ status: 0, output: "" });
  },
  180_000,
);

import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const repo = join(import.meta.dirname, "../..");
/** Biome makes a folder of its own in whatever is the user's cache. */
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");

/** Biome and tsc are failures of the suite like any other, and show up in its report. */
test.each([
  ["biome", ["check", "--error-on-warnings", "--max-diagnostics=50", "--colors=off", "."]],
  ["tsc", ["-p", "."]],
])(
  "%s has no objection",
  (tool, args) => {
    const env = { ...process.env, XDG_CACHE_HOME: cache };
    const { status, stdout, stderr } = spawnSync(join(repo, "node_modules/.bin", tool), args, { cwd: repo, encoding: "utf8", env });
    expect({ status, output: status === 0 ? "" : `${stdout}${stderr}` }).toEqual({ status: 0, output: "" });
  },
  180_000,
);

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const runner = fileURLToPath(new URL("../../scripts/test.mjs", import.meta.url));

test("a test run, lint with it, leaves nothing at home nor among temporary files; its last line is the count", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-home-"));
  try {
    const [home, temporary] = [join(dir, "home"), join(dir, "tmp")];
    for (const place of [home, temporary]) mkdirSync(place);
    const { PATH } = process.env;
    const { status, stdout } = spawnSync(process.execPath, [runner, "--project", "unit", "test/architecture/lint.test.ts", "-t", "biome"], {
      encoding: "utf8",
      env: { PATH, HOME: home, TMPDIR: temporary, IRONWRIGHT_CACHE: join(dir, "cache") },
    });
    expect([status, stdout.trim().split("\n").at(-1)]).toEqual([0, "1 passed, 0 failed, 1 skipped"]);
    expect([...readdirSync(home), ...readdirSync(temporary)]).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

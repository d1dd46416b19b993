// Runs every test: `node scripts/test.mjs [what vitest takes: a folder, --project unit, …]`. The last line is the count, from vitest's
// own report. Lint, types and the import graph are tests too (test/architecture).
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const repo = dirname(dirname(fileURLToPath(import.meta.url)));
const dir = mkdtempSync(join(tmpdir(), "ironwright-report-"));
const report = join(dir, "report.json");

const vitest = [
  join(repo, "node_modules/vitest/vitest.mjs"),
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
];
const runner = spawn(join(repo, "node_modules/.bin/node"), [...vitest, ...process.argv.slice(2)], {
  cwd: repo,
  stdio: "inherit",
  // where vitest leaves a token of its own
  env: { ...process.env, XDG_DATA_HOME: dir },
});
// the terminal interrupts the runner as well: its end is ours
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, () => runner.kill(signal));

const code = await new Promise((resolve) => runner.on("close", resolve).on("error", () => resolve(1)));
const counted = count();
rmSync(dir, { recursive: true });
console.log(`${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped`);
process.exitCode = counted.failed > 0 ? 1 : 0;

function count() {
  /** @type {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number,
   *   testResults: { status: string, assertionResults: { status: string }[] }[] }} */
  let all;
  try {
    all = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }; // the runner ended before it could report
  }
  // a file that cannot be loaded, or whose hooks fail, has no failed test of its own to be counted by
  const brokenFiles = all.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((one) => one.status === "failed"),
  );
  let failed = all.numFailedTests + brokenFiles.length;
  // an error outside any test, or no test at all
  if (code !== 0 && failed === 0) failed = 1;
  return { passed: all.numPassedTests, failed, skipped: all.numPendingTests + all.numTodoTests };
}

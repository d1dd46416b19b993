import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

/** A planner of which no file can be loaded. */
const brokenPlanner = `import { registerHooks } from "node:module";
registerHooks({
  load(url, context, next) {
    if (url.includes("/src/autoscale/")) throw new SyntaxError("a broken planner");
    return next(url, context);
  },
});`;

function run(...args: readonly string[]) {
  const hook = `data:text/javascript,${encodeURIComponent(brokenPlanner)}`;
  const command = ["--disable-warning=ExperimentalWarning", "--import", hook, join(import.meta.dirname, "main.ts"), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
  return { status, said: stdout + stderr };
}

test.each([
  [["--version"], /^\d/],
  [["explain", "IRW_BOOT_NONCE"], /IRW_BOOT_NONCE/],
  [["--set", "host.port=7443", "config"], /port: 7443/],
  [["get", "--help"], /Usage: ironwright get/],
  [["timeline", "--help"], /Usage: ironwright timeline/],
] as const)("%j works whatever the other commands are in", (args, says) => {
  const { status, said } = run(...args);
  expect(said).toMatch(says);
  expect(status).toBe(0);
});

test("the command itself says what is broken", () => {
  expect(run("simulate", "-f", "-")).toMatchObject({ status: 1, said: expect.stringContaining("a broken planner") });
});

test("what is no command shows those that there are", () => {
  const command = [join(import.meta.dirname, "main.ts"), "frobnicate"];
  const { status, stderr } = spawnSync(process.execPath, ["--disable-warning=ExperimentalWarning", ...command], { encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/unknown command 'frobnicate'[\s\S]*\bserve\b[\s\S]*\bsimulate\b/);
});

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readIndex } from "../../src/config/artifacts.ts";

/**
 * What `npm i -g` brings: the package as npm packs it, unpacked below a prefix of this test's own, its commands linked by npm. Only the
 * packages that it depends on are not fetched: they are this checkout's.
 */

const repository = fileURLToPath(new URL("../..", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
const { version, bin } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
const dir = mkdtempSync(join(tmpdir(), "iw-package-"));
const prefix = join(dir, "prefix");
const installed = join(prefix, "lib/node_modules/ironwright");

beforeAll(() => {
  // a copy, since packing compiles into the checkout
  const checkout = join(dir, "checkout");
  const left = [".git", "node_modules", "dist"].map((name) => join(repository, name));
  cpSync(repository, checkout, { recursive: true, filter: (path) => !left.includes(path) });
  symlinkSync(join(repository, "node_modules"), join(checkout, "node_modules"));
  run("npm", ["pack", "--pack-destination", dir], checkout);
  mkdirSync(installed, { recursive: true });
  run("tar", ["-xzf", join(dir, `ironwright-${version}.tgz`), "-C", installed, "--strip-components=1", "--no-same-owner"], dir);
  run("npm", ["rebuild", "--global", "--prefix", prefix, "--offline", "--ignore-scripts"], dir);
  symlinkSync(join(repository, "node_modules"), join(installed, "node_modules"));
});
afterAll(() => rmSync(dir, { recursive: true }));

function run(command: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env, HOME: dir, npm_config_cache: join(dir, "npm") };
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: "utf8" });
  expect({ status, output: status === 0 ? "" : `${command} ${args.join(" ")}: ${stdout}${stderr}` }).toEqual({ status: 0, output: "" });
  return stdout;
}

/** As a person types it, with the prefix on the PATH, where no checkout is. */
function typed(command: string, ...args: readonly string[]) {
  const { kube } = readIndex(join(cache, "artifacts.json"));
  const env = { HOME: dir, PATH: `${join(prefix, "bin")}:${kube.bin}:/usr/bin:/bin` };
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: dir, env, encoding: "utf8" });
  return { status, stdout, stderr };
}

test("npm links both commands to the one launcher", () => {
  expect(readdirSync(join(prefix, "bin")).sort()).toEqual(Object.keys(bin).sort());
  for (const name of Object.keys(bin))
    expect(readlinkSync(join(prefix, "bin", name))).toBe("../lib/node_modules/ironwright/bin/ironwright");
});

test("`ironwright`, `kubectl-ironwright` and `kubectl ironwright` are the same program", () => {
  const said = { status: 0, stdout: `${version}\n`, stderr: "" };
  expect(typed("ironwright", "--version")).toEqual(said);
  expect(typed("kubectl-ironwright", "--version")).toEqual(said);
  expect(typed("kubectl", "ironwright", "--version")).toEqual(said);
  const advice = typed("ironwright", "explain", "IRW_WIPE_UNPROVEN");
  expect(advice).toMatchObject({ status: 0, stdout: expect.stringContaining("stays out of use") });
  expect(typed("kubectl", "ironwright", "explain", "IRW_WIPE_UNPROVEN")).toEqual(advice);
});

test("the package has what the daemon reads at run time, and neither tests nor sources that would be run instead", () => {
  const files = readdirSync(installed, { recursive: true }).map(String);
  for (const file of ["dist/cli/main.js", "dist/main.js", "deploy/crds", "playbooks/install/partition.yaml", "pxe", "native/go.mod"])
    expect(files).toContain(file);
  expect(
    files.filter((file) => !file.startsWith("node_modules") && (/\.test\.|\.fixture\./.test(file) || file.startsWith("src/"))),
  ).toEqual([]);
});

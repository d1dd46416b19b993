import { existsSync, mkdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { SetupError } from "./context.mjs";

/** From here on the go command fetches the toolchain that go.mod asks for by itself. */
const GO_MINIMUM = [1, 21];
const MEND = "install Go 1.21 or later (https://go.dev/doc/install) and put it on the PATH, then npm run setup again";

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {{ module: string, to: string, linkerFlags: string, tags?: readonly string[], progress: import("./context.mjs").Progress }} options
 */
export async function goBuild(ctx, { module, to, linkerFlags, tags = [], progress }) {
  // a person's own flags and workspace would make another program than the one the key stands for
  // its work files lie where an interrupted build is cleared away
  const scratch = `${to}.scratch`;
  mkdirSync(scratch);
  const own = { CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off", GOOS: "linux", GOARCH: ctx.arch, GOTMPDIR: scratch };
  const env = { ...own, ...(await goPlaces(ctx)) };
  const flags = ["-mod=readonly", `-tags=${tags.join(",")}`];

  progress("fetching modules");
  const all = (await ctx.run("go", ["list", ...flags, "-deps", "."], { cwd: module, env })).split("\n").length;
  let compiled = 0;
  const onLine = (/** @type {string} */ line) => {
    // with -v the go command names each package it compiles; what its own cache holds is not named
    if (/^[\w.-]+(\/\S+)*$/.test(line)) compiled++;
    progress(`${compiled} of at most ${all} packages compiled`);
  };
  const args = ["build", "-v", ...flags, "-trimpath", "-buildvcs=false", `-ldflags=${linkerFlags}`, "-o", to, "."];
  await ctx.run("go", args, { cwd: module, env, onLine });
  rmSync(scratch, { recursive: true });
}

/**
 * Where the go command keeps its files: where the person has them already, so that what is there need not be fetched and compiled again;
 * else in the cache of this project. Checks that there is a Go.
 * @param {import("./context.mjs").Context} ctx
 * @returns {Promise<Record<string, string>>} for its environment
 */
export async function goPlaces(ctx) {
  const home = homedir();
  const config = process.env.XDG_CONFIG_HOME || join(home, ".config");
  // every go command counts itself there; git, which fetches modules for it where there is no proxy, has its settings beside
  const apart = !existsSync(join(config, "go")) && !existsSync(join(config, "git"));
  /** @type {Record<string, string>} */
  const env = apart ? { XDG_CONFIG_HOME: join(ctx.cacheDir, "go/config") } : {};
  await checkGo(ctx, env);
  const answer = await ctx.run("go", ["env", "-json", "GOMODCACHE", "GOCACHE"], { env });
  return { ...env, ...ownPlaces(JSON.parse(answer), ctx.cacheDir, existsSync) };
}

/**
 * @param {{ GOMODCACHE: string, GOCACHE: string }} theirs
 * @param {string} cacheDir
 * @param {(path: string) => boolean} exists
 * @returns {Record<string, string>}
 */
export function ownPlaces(theirs, cacheDir, exists) {
  const modules = { GOPATH: join(cacheDir, "go"), GOMODCACHE: join(cacheDir, "go/pkg/mod"), GOFLAGS: "-modcacherw" };
  return {
    ...(exists(theirs.GOMODCACHE) ? {} : modules),
    ...(exists(theirs.GOCACHE) ? {} : { GOCACHE: join(cacheDir, "go/build") }),
  };
}

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {Record<string, string>} env
 */
async function checkGo(ctx, env) {
  let version = "";
  try {
    version = await ctx.run("go", ["version"], { env });
  } catch {
    throw new SetupError("there is no Go on the PATH", MEND);
  }
  const [major = 0, minor = 0] = (/go(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  const [wantMajor = 0, wantMinor = 0] = GO_MINIMUM;
  if (major < wantMajor || (major === wantMajor && minor < wantMinor)) throw new SetupError(`${version} is too old`, MEND);
}

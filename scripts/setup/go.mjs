import { mkdirSync, rmSync } from "node:fs";
import { SetupError } from "./context.mjs";

/** From here on the go command fetches the toolchain that go.mod asks for by itself. */
const GO_MINIMUM = [1, 21];
const MEND = "install Go 1.21 or later (https://go.dev/doc/install) and put it on the PATH, then npm run setup again";

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {{ module: string, to: string, linkerFlags: string, tags?: readonly string[], progress: import("./context.mjs").Progress }} options
 */
export async function goBuild(ctx, { module, to, linkerFlags, tags = [], progress }) {
  await checkGo(ctx);
  // a person's own flags and workspace would make another program than the one the key stands for
  // its work files lie where an interrupted build is cleared away
  const scratch = `${to}.scratch`;
  mkdirSync(scratch);
  const env = { CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off", GOOS: "linux", GOARCH: ctx.arch, GOTMPDIR: scratch };
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

/** @param {import("./context.mjs").Context} ctx */
async function checkGo(ctx) {
  let version = "";
  try {
    version = await ctx.run("go", ["version"]);
  } catch {
    throw new SetupError("there is no Go on the PATH", MEND);
  }
  const [major = 0, minor = 0] = (/go(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  const [wantMajor = 0, wantMinor = 0] = GO_MINIMUM;
  if (major < wantMajor || (major === wantMajor && minor < wantMinor)) throw new SetupError(`${version} is too old`, MEND);
}

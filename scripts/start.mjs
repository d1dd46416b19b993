// How npm's scripts start what needs root: `node scripts/start.mjs [--for demo|test] PROGRAM [ARGUMENTS]`. Set-up comes first, for what
// is named; then PROGRAM runs on the Node that the project carries, by sudo where the caller is not root. Plain JavaScript without
// packages, for any Node ≥ 20.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rightsFor } from "./rights.mjs";

const self = fileURLToPath(import.meta.url);
const repo = dirname(dirname(self));

process.exitCode = await main(process.argv.slice(2));

/** @param {readonly string[]} args */
async function main(args) {
  const { purpose, owner, program } = parse(args);
  if (program.length === 0) return refuse("node scripts/start.mjs [--for demo|test] PROGRAM [ARGUMENTS]");
  const rights = rightsFor({
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    sudo: onPath("sudo"),
    env: process.env,
    command: typed(program),
  });
  if (rights.go === "nowhere") return refuse(rights.says);
  if (rights.go === "by sudo") {
    console.log(rights.says);
    // before set-up, which may take minutes: who may not is told at once, and who is asked for a password is still there
    if (spawnSync("sudo", ["true"], { stdio: "inherit" }).status !== 0)
      return refuse(`sudo does not let you; to mend it: su -c '${typed(program)}'`);
  }
  if (purpose) {
    const code = await run([process.execPath, join(repo, "scripts/setup.mjs"), "--for", purpose]);
    if (code !== 0) return code;
  }
  if (rights.go === "by sudo") return run([...rights.prefix, process.execPath, self, "--owner", rights.owner, ...program]);
  try {
    return await run([join(repo, "node_modules/.bin/node"), ...program]);
  } finally {
    if (owner) giveBack(owner);
  }
}

/** @param {readonly string[]} args */
function parse([...program]) {
  /** @type {Record<string, string | undefined>} */
  const options = {};
  while (program[0] === "--for" || program[0] === "--owner") {
    const [name = "", value] = program.splice(0, 2);
    options[name] = value;
  }
  return { purpose: options["--for"], owner: options["--owner"], program };
}

/**
 * What the person typed, as far as npm tells.
 * @param {readonly string[]} program
 */
function typed(program) {
  const script = process.env.npm_lifecycle_event;
  if (!script) return ["node scripts/start.mjs", ...program].join(" ");
  const args = program.slice(1).join(" ");
  return `${script === "test" ? "npm test" : `npm run ${script}`}${args ? ` -- ${args}` : ""}`;
}

/** @param {string} program */
function onPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Its exit status; signals go on to it.
 * @param {readonly string[]} command
 * @returns {Promise<number>}
 */
function run([program = "", ...args]) {
  const child = spawn(program, args, { stdio: "inherit" });
  /** @param {NodeJS.Signals} signal */
  const forward = (signal) => {
    if (child.pid === undefined) return;
    try {
      process.kill(child.pid, signal);
    } catch {
      // a sudo is root's: only by another one can it be told, and that one hands it on
      spawnSync("sudo", ["-n", "kill", "-s", signal.slice(3), String(child.pid)]);
    }
  };
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      for (const signal of signals) process.off(signal, forward);
      resolve(code ?? 1);
    });
  });
}

/**
 * What root made in the caller's cache and node_modules becomes the caller's.
 * @param {string} owner
 */
function giveBack(owner) {
  const cache = resolve(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"));
  // what --keep has left running makes and removes files meanwhile
  spawnSync("chown", ["-R", "-h", "-f", "--from=0:0", owner, cache, join(repo, "node_modules")]);
}

/** @param {string} why */
function refuse(why) {
  console.error(why);
  return 1;
}

// Gets what a checkout needs: `node scripts/setup.mjs [--for demo|test]`. Plain JavaScript without packages, for any Node ≥ 20,
// since nothing is installed yet. Idempotent and cached; scripts/setup/README.md says how its parts are written.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as bootPrograms from "./setup/boot-programs.mjs";
import { createContext, SetupError } from "./setup/context.mjs";
import * as debian from "./setup/debian.mjs";
import * as debianFiles from "./setup/debian-files.mjs";
import * as installer from "./setup/installer.mjs";
import * as kubernetes from "./setup/kubernetes.mjs";
import { createLines, duration } from "./setup/lines.mjs";
import { takeLock } from "./setup/lock.mjs";
import * as native from "./setup/native.mjs";
import * as nodeImage from "./setup/node-image.mjs";
import * as npm from "./setup/npm.mjs";

/** In this order: later parts use what earlier ones made. */
const PARTS = [debian, npm, debianFiles, bootPrograms, kubernetes, native, installer, nodeImage];

const began = Date.now();
const lines = createLines(process.stdout);
const cacheDir = resolve(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"));
const repo = dirname(dirname(fileURLToPath(import.meta.url)));
const purpose = readPurpose(process.argv.slice(2));
const ctx = createContext({ repo, cacheDir, purpose: purpose ?? "test", lines });

let interrupted = "";
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => {
    interrupted = signal;
    ctx.abort();
  });
}

process.exitCode = await main();

async function main() {
  if (process.platform !== "linux")
    return refuse(new SetupError(`Ironwright runs on Linux, and this is ${process.platform}`, "use a Linux machine"));
  if (!purpose)
    return refuse(new SetupError(`${process.argv.slice(2).join(" ")} is not understood`, "node scripts/setup.mjs [--for demo|test]"));
  lines.say("set-up");
  const unlock = await takeLock(cacheDir, lines.say).catch(refuse);
  if (typeof unlock === "number") return unlock;
  try {
    for (const part of PARTS) await part.run(ctx);
  } catch (error) {
    return refuse(interrupted ? new SetupError(`interrupted by ${interrupted}; what was done so far is kept`, "npm run setup") : error);
  } finally {
    writeIndex();
    unlock();
  }
  lines.say(`set-up: all there (${duration(Date.now() - began)})`);
  return 0;
}

/**
 * What is wanted; all of it when nothing is said.
 * @param {string[]} args
 */
function readPurpose([option, purpose, ...rest]) {
  if (option === undefined) return "test";
  return option === "--for" && rest.length === 0 && (purpose === "demo" || purpose === "test") ? purpose : undefined;
}

/** What was had is written even when another part was not: `ironwright doctor` names the rest. */
function writeIndex() {
  mkdirSync(cacheDir, { recursive: true });
  const index = join(cacheDir, "artifacts.json");
  writeFileSync(`${index}.new`, `${JSON.stringify({ ...readIndex(index), ...ctx.have }, null, 2)}\n`);
  renameSync(`${index}.new`, index);
}

/** @param {string} index */
function readIndex(index) {
  try {
    return JSON.parse(readFileSync(index, "utf8"));
  } catch {
    return {}; // the first run, or a file that nobody can use
  }
}

/** @param {unknown} error */
function refuse(error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`set-up: ${error.message}; to mend it: ${error.mend}\n`);
  return 1;
}

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What cannot be had, and the command that mends it. */
export class SetupError extends Error {
  /**
   * @param {string} what
   * @param {string} mend
   */
  constructor(what, mend) {
    super(what);
    this.mend = mend;
  }
}

const isRoot = process.getuid?.() === 0;

/** What is no longer used is kept this long: a daemon may still run from it, and branches are switched back. */
const KEEP_MS = 14 * 24 * 3600_000;

/**
 * @typedef {ReturnType<typeof createContext>} Context
 * @typedef {(text: string) => void} Progress
 */

/**
 * What the parts of set-up work with; README.md beside this file says how.
 * @param {{ repo: string, cacheDir: string, purpose: "demo" | "test", lines: import("./lines.mjs").Lines }} options
 */
export function createContext({ repo, cacheDir, purpose, lines }) {
  const arch = process.arch === "arm64" ? "arm64" : "amd64";
  /** @type {Record<string, any>} */
  const have = {};
  const logDir = join(cacheDir, "logs");
  /** How each command that runs is interrupted. @type {Set<() => void>} */
  const interrupts = new Set();
  let logFile = join(logDir, "setup.log");
  let ranAsRoot = false;
  const interruption = new AbortController();

  /** @param {string} dir */
  async function removeTree(dir) {
    if (!existsSync(dir)) return;
    try {
      rmSync(dir, { recursive: true });
    } catch (error) {
      if (isRoot) throw error;
      await context.run("rm", ["-rf", dir], { root: true });
    }
  }

  const context = {
    repo,
    cacheDir,
    arch,
    purpose,
    have,
    log: lines.say,
    keyOf,
    /** Aborted when the person interrupts set-up. */
    signal: interruption.signal,

    /**
     * @template T
     * @param {string} label
     * @param {(progress: Progress) => Promise<T>} work
     */
    step: (label, work) => lines.step(label, work),

    /** @param {Record<string, unknown>} part */
    artifacts(part) {
      Object.assign(have, part);
    },

    /**
     * @param {{ part: string, key: string, label: string }} what
     * @param {(dir: string, progress: Progress) => Promise<void>} build
     */
    async cache({ part, key, label }, build) {
      const dir = join(cacheDir, part, key);
      if (existsSync(dir)) {
        const now = new Date();
        utimesSync(dir, now, now);
        return dir;
      }
      // the set-up's lock is held: whatever unfinished build is here is a dead one's
      const unfinished = join(cacheDir, part, ".unfinished");
      await removeTree(unfinished);
      mkdirSync(unfinished, { recursive: true });
      mkdirSync(logDir, { recursive: true });
      logFile = join(logDir, `${part}.log`);
      writeFileSync(logFile, "");
      try {
        await lines.step(label, (progress) => build(unfinished, progress));
        if (ranAsRoot && !isRoot) await context.run("chown", ["-R", String(process.getuid?.()), unfinished], { root: true });
        renameSync(unfinished, dir);
      } catch (error) {
        await removeTree(unfinished);
        throw error;
      }
      prune(join(cacheDir, part), key);
      return dir;
    },

    /**
     * @param {string} command
     * @param {readonly string[]} args
     * @param {{ cwd?: string, env?: Record<string, string>, root?: boolean, onLine?: (line: string) => void, input?: string }} options
     * @returns {Promise<string>} its standard output
     */
    async run(command, args, { cwd = repo, env = {}, root = false, onLine = () => {}, input } = {}) {
      ranAsRoot ||= root;
      const [program, ...rest] = root ? asRoot([command, ...args], env) : [command, ...args];
      if (program === undefined) throw new Error("no command");
      mkdirSync(logDir, { recursive: true });
      appendFileSync(logFile, `$ ${[program, ...rest].join(" ")}\n`);
      // a group of its own, so that what a script starts is interrupted with it; sudo asks for its password on our terminal
      const ownGroup = program !== "sudo";
      const child = spawn(program, rest, { cwd, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"], detached: ownGroup });
      const interrupt = () => {
        // not SIGINT: what a shell starts in the background ignores that
        if (!child.pid || child.exitCode !== null) return;
        try {
          process.kill(ownGroup ? -child.pid : child.pid, "SIGTERM");
        } catch {
          // a sudo is root's: only by another one can it be told, and that one hands it on
          spawnSync("sudo", ["-n", "kill", "-s", "TERM", String(child.pid)]);
        }
      };
      interrupts.add(interrupt);
      child.stdin.on("error", () => {}); // a program need not read what it is given
      child.stdin.end(input ?? "");
      /** @type {string[]} */
      const out = [];
      /** @type {string[]} */
      const last = [];
      /** @param {NodeJS.ReadableStream} stream @param {string[] | undefined} kept */
      const follow = async (stream, kept) => {
        for await (const line of createInterface({ input: stream })) {
          kept?.push(line);
          last.push(line);
          if (last.length > 6) last.shift();
          appendFileSync(logFile, `${line}\n`);
          onLine(line);
        }
      };
      const ended = new Promise((resolve, reject) => child.on("error", reject).on("close", (code, signal) => resolve(code ?? signal)));
      try {
        const [code] = await Promise.all([ended, follow(child.stdout, out), follow(child.stderr, undefined)]);
        if (code !== 0)
          throw new SetupError(`${command} ended with ${code}: ${last.join(" | ").trim()}`, `read ${logFile}, then npm run setup again`);
        return out.join("\n");
      } catch (error) {
        const absent = /** @type {any} */ (error).code === "ENOENT";
        if (absent && program === "sudo") throw new SetupError(`${command} needs root, and there is no sudo`, "npm run setup as root");
        if (absent) throw new SetupError(`${program} is not on the PATH`, `install ${program}, then npm run setup again`);
        throw error;
      } finally {
        interrupts.delete(interrupt);
      }
    },

    /** Ends what runs, when set-up is interrupted. */
    abort() {
      interruption.abort();
      for (const interrupt of interrupts) interrupt();
    },
  };
  return context;
}

/**
 * The sha256 over what is given: absolute paths by content, a folder with all its files, anything else as text.
 * @param {readonly string[]} parts
 */
export function keyOf(parts) {
  const hash = createHash("sha256");
  for (const part of parts) {
    if (!part.startsWith("/") || !existsSync(part)) hash.update(`text ${part.length}\n${part}`);
    else for (const file of filesUnder(part)) addFile(hash, file, file.slice(part.length));
  }
  return hash.digest("hex").slice(0, 16);
}

/**
 * @param {import("node:crypto").Hash} hash
 * @param {string} file
 * @param {string} name relative, so that a checkout elsewhere has the same key
 */
function addFile(hash, file, name) {
  // a link in an image's files points at where it will be, which is nowhere here
  if (lstatSync(file).isSymbolicLink()) {
    hash.update(`link ${name} ${readlinkSync(file)}\n`);
    return;
  }
  const stat = lstatSync(file);
  const kind = stat.isSymbolicLink() ? "link" : stat.mode & 0o100 ? "program" : "file";
  const content = kind === "link" ? readlinkSync(file) : readFileSync(file);
  hash.update(`${kind} ${name} ${content.length}\n`).update(content);
}

/**
 * @param {string} path
 * @returns {string[]}
 */
function filesUnder(path) {
  if (!lstatSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesUnder(join(path, name)));
}

/**
 * Without root, by sudo, which keeps nothing of the environment by itself.
 * @param {string[]} command
 * @param {Record<string, string>} env
 */
function asRoot(command, env) {
  if (isRoot) return command;
  const kept = { PATH: process.env.PATH ?? "", ...env };
  return ["sudo", "env", ...Object.entries(kept).map(([name, value]) => `${name}=${value}`), ...command];
}

/**
 * Removes what other keys left, once they are long unused.
 * @param {string} dir
 * @param {string} current
 */
function prune(dir, current) {
  for (const name of readdirSync(dir)) {
    const old = join(dir, name);
    if (name !== current && Date.now() - statSync(old).mtimeMs > KEEP_MS) rmSync(old, { recursive: true, force: true });
  }
}

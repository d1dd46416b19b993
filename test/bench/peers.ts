import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Context, createContext, SetupError } from "../../scripts/setup/context.mjs";
import { createLines } from "../../scripts/setup/lines.mjs";
import { takeLock } from "../../scripts/setup/lock.mjs";

/** Programs of other projects, to be measured beside ours or to talk to it. Nothing of theirs is installed or started. */
export interface Peers {
  /** A program's path in its unpacked package, or this machine's own where the package is installed; throws when there is none. */
  program(name: string): string;
  /** Any other file of a package: `/usr/lib/shim/shimx64.efi.signed`. */
  file(path: string): string;
  /** What the programs must find in their environment: where their libraries are. Includes this process's own. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Debian packages, each unpacked in a folder of its own in the project's cache with what it needs and this machine lacks.
 * Conflicting packages may be asked for together. Throws with one line that says what cannot be had and what mends it.
 * @param packages `kea-dhcp4-server`, `atftpd` …
 * @param out where progress is shown
 */
export async function peers(packages: readonly string[], out: NodeJS.WriteStream = process.stderr): Promise<Peers> {
  const cacheDir = resolve(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"));
  const repo = fileURLToPath(new URL("../../", import.meta.url));
  const lines = createLines(out);
  const context = createContext({ repo, cacheDir, purpose: "test", lines });
  const unlock = await takeLock(cacheDir, lines.say);
  const roots: string[] = [];
  try {
    for (const name of packages) roots.push(await unpacked(context, name));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    const reason = /E: .*/.exec(error.message)?.[0] ?? error.message;
    throw new Error(`${packages.join(", ")} cannot be had from Debian: ${reason}; is there a way to Debian's packages from here?`, {
      cause: error,
    });
  } finally {
    unlock();
  }
  const find = (paths: readonly string[]) => [...roots, "/"].flatMap((root) => paths.map((path) => join(root, path))).find(existsSync);
  const found = (name: string, path: string | undefined) => {
    if (path === undefined) throw new Error(`there is no ${name} in ${packages.join(", ")}`);
    return path;
  };
  const libraries = roots.flatMap((root) => ["usr/lib", "lib"].flatMap((path) => libraryFolders(join(root, path))));
  return {
    program: (name) => found(name, find(["usr/sbin", "usr/bin", "sbin", "bin"].map((path) => join(path, name)))),
    file: (path) => found(path, find([path])),
    env: { ...(process.env as Record<string, string>), LD_LIBRARY_PATH: libraries.join(":") },
  };
}

/** Package lists that are absent, or so old that they name files no longer served, are fetched once. */
async function unpacked(context: Context, name: string): Promise<string> {
  if (!existsSync("/usr/bin/apt-get")) throw new SetupError("this is no Debian", "run this where there is apt-get");
  try {
    return await download(context, name);
  } catch {
    await context.step("Debian package lists", (progress) =>
      context.run("apt-get", ["update", "-q"], { env: PLAIN, root: true, onLine: progress }),
    );
    return await download(context, name);
  }
}

const PLAIN = { LC_ALL: "C" };

async function download(context: Context, name: string): Promise<string> {
  const versions = await wanted(context, name);
  const key = context.keyOf(["peers 1", name, ...versions, context.arch]);
  return await context.cache({ part: `peer-${name}`, key, label: `${name} (Debian packages, not installed)` }, async (dir, progress) => {
    // as we are: apt's own user may not write here
    const asWeAre = ["-o", "APT::Sandbox::User=root"];
    await context.run("apt-get", ["download", ...asWeAre, ...versions], { cwd: dir, env: PLAIN, onLine: progress });
    for (const file of readdirSync(dir).filter((one) => one.endsWith(".deb"))) {
      progress(file);
      await context.run("dpkg-deb", ["-x", join(dir, file), dir]);
      rmSync(join(dir, file));
    }
  });
}

/** Where Debian keeps what is installed, and what may be. */
const APT_STATE = ["/var/lib/dpkg/status", "/var/lib/apt/lists"];

/**
 * `name=version` of the package and of all it needs that is not installed here. apt takes two seconds to say so, and says the same
 * until its state is another.
 */
async function wanted(context: Context, name: string): Promise<string[]> {
  const state = APT_STATE.map((path) => String(statSync(path, { throwIfNoEntry: false })?.mtimeMs));
  const key = context.keyOf(["versions 1", name, ...state]);
  const kept = await context.cache({ part: "peer-versions", key, label: `what ${name} needs of Debian` }, async (dir) => {
    const simulated = await context.run("apt-get", ["install", "-s", "-q", "--reinstall", "--no-install-recommends", name], { env: PLAIN });
    const versions = [...simulated.matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+) /gm)].map(([, one, version]) => `${one}=${version}`);
    writeFileSync(join(dir, "versions"), versions.sort().join(" "));
  });
  return readFileSync(join(kept, "versions"), "utf8").split(" ").filter(Boolean);
}

/** The folder itself and those of the architecture (`x86_64-linux-gnu`). */
function libraryFolders(path: string): string[] {
  if (!existsSync(path)) return [];
  const triplets = readdirSync(path).filter((name) => /^(x86_64|aarch64)-linux-gnu$/.test(name));
  return [path, ...triplets.map((name) => join(path, name))];
}

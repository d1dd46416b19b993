// Adds to package-lock.json what npm leaves out of it: builds of optional packages for other platforms that the registry in use does
// not carry. npm 11 and later refuse a lock file without them, although none of them is ever installed here. Run it after npm install.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const SYSTEMS = ["android", "darwin", "linux", "win32"];
const PROCESSORS = ["arm", "arm64", "x64"];

/**
 * @typedef {{ version?: string, dev?: boolean, optional?: boolean, os?: string[], cpu?: string[], libc?: string[], resolved?: string,
 *   dependencies?: Record<string, string>, optionalDependencies?: Record<string, string> }} LockedPackage
 * @typedef {{ packages: Record<string, LockedPackage> }} Lock
 */

/**
 * Optional dependencies that the lock file does not place anywhere their dependent would find them.
 * @param {Lock} lock
 * @returns {{ by: string, name: string, version: string }[]}
 */
export function missingOptional({ packages }) {
  return Object.entries(packages).flatMap(([by, { optionalDependencies = {} }]) =>
    Object.entries(optionalDependencies)
      .filter(([name]) => !isPlaced(packages, by, name))
      .map(([name, version]) => ({ by, name, version })),
  );
}

/**
 * @param {Lock["packages"]} packages
 * @param {string} by
 * @param {string} name
 */
function isPlaced(packages, by, name) {
  for (let at = by; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/")))) {
    if (packages[`${at ? `${at}/` : ""}node_modules/${name}`]) return true;
    if (at === "") return false;
  }
}

/**
 * The platform is in the name, as these packages' makers have it: `…-linux-x64-musl`.
 * @param {string} name
 */
function platformOf(name) {
  const parts = name.split("-");
  const os = parts.find((part) => SYSTEMS.includes(part.replace(/^.*\//, "")));
  const cpu = parts.find((part) => PROCESSORS.includes(part));
  if (!os || !cpu) throw new Error(`${name} names no platform: see why the registry does not have it`);
  return { cpu: [cpu], os: [os], ...(parts.includes("musl") ? { libc: ["musl"] } : {}) };
}

/** @param {Lock} lock */
function complete(lock) {
  for (const { by, name, version } of missingOptional(lock)) {
    if (!/^\d/.test(version)) throw new Error(`${by} wants ${name} ${version}: no exact version to write down`);
    const dev = lock.packages[by]?.dev ? { dev: true } : {};
    lock.packages[`node_modules/${name}`] = { version, ...dev, optional: true, ...platformOf(name) };
  }
  const [root, ...rest] = Object.entries(lock.packages);
  rest.sort(([a], [b]) => a.localeCompare(b, "en"));
  lock.packages = Object.fromEntries(root ? [root, ...rest] : rest);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = join(dirname(dirname(fileURLToPath(import.meta.url))), "package-lock.json");
  const lock = JSON.parse(readFileSync(file, "utf8"));
  complete(lock);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";

/** One import of the product's own code: paths relative to the repository. */
export interface Import {
  readonly from: string;
  readonly to: string;
}

/** The noun folders, lowest first; a folder may import those of the layers below its own. */
const LAYERS: readonly (readonly string[])[] = [
  ["core"],
  ["ipc"],
  ["wire", "kube", "work", "supervise", "observe"],
  ["boot", "bmc", "machine", "autoscale", "tenant", "backup"],
  ["config"],
  ["api", "web", "rack"],
  ["cli"],
];

/** Folders of one layer that may import each other, through `index.ts` alone. */
const PEERS = new Set(["boot", "bmc", "machine", "autoscale", "tenant", "backup"]);
/** What every layer may be configured by, and only these read it. */
const READS_CONFIG = new Set(["cli", "rack", "api"]);
/** May import any folder. */
const SEES_ALL = new Set(["src/main.ts", "src/boot-first.ts", "src/cli"]);

/** What a folder's parts may import besides their own folder, where that is less than its layer allows. */
const NARROWER: Readonly<Record<string, readonly string[]>> = { "src/autoscale/plan": ["core"] };

/** Why an import is against the drawn graph of DESIGN.md §3; nothing when it is not. */
export function objection({ from, to }: Import): string | undefined {
  if (!to.startsWith("src/")) return `${from} imports ${to}, outside src/`;
  const narrow = Object.entries(NARROWER).find(([folder]) => isWithin(from, folder));
  if (narrow && !isWithin(to, narrow[0]) && !narrow[1].some((name) => isWithin(to, `src/${name}`))) {
    return `${from} imports ${to}: ${narrow[0]} imports ${narrow[1].join(", ")} alone`;
  }
  const source = folderOf(from);
  const target = folderOf(to);
  if (source === target || [...SEES_ALL].some((all) => isWithin(from, all))) return undefined;
  if (source === undefined || target === undefined) return `${from} imports ${to}: neither may be outside a folder of src/`;
  if (target === "config") return READS_CONFIG.has(source) ? undefined : `${from} imports ${to}: configuration is handed in as values`;
  const above = layerOf(source) - layerOf(target);
  if (Number.isNaN(above)) return `${from} imports ${to}: ${layerOf(source) >= 0 ? target : source} is not in the drawn graph`;
  if (above > 0) return isPublic(to, target) ? undefined : `${from} imports ${to}: another folder is imported through its index.ts`;
  if (above === 0 && PEERS.has(source) && PEERS.has(target)) {
    return to === `src/${target}/index.ts` ? undefined : `${from} imports ${to}: its peers are imported through their index.ts`;
  }
  return `${from} imports ${to}: ${target} is not below ${source}`;
}

/** `core` is read file by file; what has an export list is read through it. */
function isPublic(to: string, target: string): boolean {
  return target === "core" || to === `src/${target}/index.ts`;
}

function layerOf(folder: string): number {
  const layer = LAYERS.findIndex((names) => names.includes(folder));
  return layer < 0 ? Number.NaN : layer;
}

function folderOf(path: string): string | undefined {
  const [, folder, ...rest] = path.split("/");
  return rest.length > 0 ? folder : undefined;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The imports of one file's text: static, re-exported, dynamic, and of types. */
export function importsOf(file: string, text: string): Import[] {
  const bare = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
  const found = bare.matchAll(/(?:\bfrom|\bimport|\bimport\s*\()\s*(["'])(\.[^"']*)\1/g);
  return [...found].map((match) => ({ from: file, to: posix.join(dirname(file), match[2] ?? "") }));
}

/** All imports under `src/` of a checkout. Tests may reach into what they test, so they are left out. */
export function importsUnder(repo: string): Import[] {
  return readdirSync(join(repo, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|svelte)$/.test(entry.name) && !entry.name.endsWith(".test.ts"))
    .map((entry) => relative(repo, join(entry.parentPath, entry.name)))
    .sort()
    .flatMap((file) => importsOf(file, readFileSync(join(repo, file), "utf8")));
}

/** What a file loads before its own first line runs: its imports and theirs, neither those of types nor dynamic ones. */
export function loadedBy(repo: string, file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(join(repo, file), "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "$1");
  for (const [, isType, names = "", path = ""] of text.matchAll(
    /\b(?:import|export)\b\s+(type\s+)?([^;"'()]*?)(?:\bfrom\s+)?["']([^"']+)["']/g,
  )) {
    if (isType || (names.includes("{") && bracedTypes(names))) continue;
    if (path.startsWith(".")) loadedBy(repo, posix.join(dirname(file), path), seen);
    else seen.add(path);
  }
  return seen;
}

/** `{ type A, type B }`: a file of which types alone are imported is not loaded. */
function bracedTypes(names: string): boolean {
  const inside = /^\s*\{([^}]*)\}\s*$/.exec(names)?.[1];
  const list = inside?.split(",").filter((one) => one.trim() !== "") ?? [];
  return list.length > 0 && list.every((one) => one.trim().startsWith("type "));
}

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { type Config, configSchema } from "./schema.ts";

/** Where a configuration may come from; later ones win: file, environment, flags. */
export interface ConfigSources {
  /** A file named by the caller must exist; the usual places are tried otherwise. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `host.port=6444`, as given to `--set`. */
  readonly set?: readonly string[];
}

const USUAL_PLACES = ["ironwright.yaml", "/etc/ironwright/ironwright.yaml"];
const PREFIX = "IRONWRIGHT_";
/** Used by the launcher and set-up, and no keys of the configuration. */
const OTHER_VARIABLES = /^IRONWRIGHT_(CONFIG|CACHE|KUBECONFIG|SETUP_\w+)$/;

/**
 * The effective configuration.
 * @throws IRW_CONFIG_INVALID with every problem by its field's path; nothing has been started by then
 */
export function loadConfig(sources: ConfigSources): Config {
  const file = sources.file ?? sources.env.IRONWRIGHT_CONFIG ?? USUAL_PLACES.find((place) => existsSync(place));
  const document: Record<string, unknown> = file ? readDocument(file) : {};
  const problems: string[] = [];
  for (const [name, text] of Object.entries(sources.env)) {
    if (!name.startsWith(PREFIX) || OTHER_VARIABLES.test(name) || text === undefined) continue;
    const path = pathOfVariable(name);
    if (path) put(document, path, text);
    else
      problems.push(
        `  ${name}: no such setting; there are ${variables()
          .map((one) => one.name)
          .join(", ")}`,
      );
  }
  // set-up writes its index into the cache, wherever that was put
  if (sources.env.IRONWRIGHT_CACHE && !("artifacts" in document)) document.artifacts = join(sources.env.IRONWRIGHT_CACHE, "artifacts.json");
  for (const setting of sources.set ?? []) {
    const at = setting.indexOf("=");
    if (at < 1) problems.push(`  --set ${setting}: expected key=value`);
    else put(document, setting.slice(0, at).split("."), setting.slice(at + 1));
  }
  const parsed = configSchema.safeParse(document);
  if (!parsed.success) problems.push(...parsed.error.issues.map(describeIssue));
  if (problems.length > 0 || !parsed.success) {
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: file ?? "environment and flags", problems: problems.join("\n") });
  }
  return parsed.data;
}

/** `  boot.interfaces[0].pool: …` */
export function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return `  ${path.replace(/^\./, "") || "(top level)"}: ${issue.message}`;
}

/** All settings by their environment variable, with what they mean: `ironwright config --help` and the reference print it. */
export function variables(): readonly { name: string; path: readonly string[]; description: string }[] {
  return leaves(configSchema, []).map(({ path, description }) => ({ name: variableOf(path), path, description }));
}

/** What stands in lists, by its place: `boot.interfaces[].pool`; no variable is its own. What means the same again is said once. */
export function listSettings(): readonly { setting: string; description: string }[] {
  const said = new Set<string>();
  return inLists(configSchema, "").filter(({ setting, description }) => {
    const what = `${setting.split(".").at(-1)} ${description}`;
    return !said.has(what) && said.add(what);
  });
}

/** The same configuration with what is secret in it replaced. */
export function redacted(config: Config): Config {
  if (!config.redis) return config;
  const url = new URL(config.redis.url);
  if (url.password) url.password = "REDACTED";
  return { ...config, redis: { url: url.toString() } };
}

function readDocument(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parse(readFileSync(file, "utf8"), { maxAliasCount: 0 });
  } catch (error) {
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: file, problems: `  ${reasonOf(error)}` }, error);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: file, problems: "  (top level): expected a map of settings" });
  }
  return value as Record<string, unknown>;
}

/** camelCase levels joined by `_`: host.kubeconfig is IRONWRIGHT_HOST_KUBECONFIG, dataDir is IRONWRIGHT_DATA_DIR. */
function variableOf(path: readonly string[]): string {
  return PREFIX + path.map((part) => part.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join("_");
}

function pathOfVariable(name: string): readonly string[] | undefined {
  return variables().find((one) => one.name === name)?.path;
}

function leaves(schema: z.ZodType, path: readonly string[]): { path: readonly string[]; description: string }[] {
  const inner = unwrap(schema);
  const shape = "shape" in inner.def ? (inner.def.shape as Record<string, z.ZodType>) : undefined;
  if (!shape) return [{ path, description: descriptionOf(schema) }];
  return Object.entries(shape).flatMap(([key, child]) => leaves(child, [...path, key]));
}

function inLists(schema: z.ZodType, path: string): { setting: string; description: string }[] {
  const inner = unwrap(schema);
  if ("element" in inner.def) return members(inner, path);
  return Object.entries(shapeOf(inner)).flatMap(([key, child]) => inLists(child, path === "" ? key : `${path}.${key}`));
}

/** What a list's members, or a map, have; what says nothing of itself is left out. */
function members(schema: z.ZodType, path: string): { setting: string; description: string }[] {
  const inner = unwrap(schema);
  if ("element" in inner.def) return members(inner.def.element as z.ZodType, `${path}[]`);
  return Object.entries(shapeOf(inner)).flatMap(([key, child]) => {
    const setting = `${path}.${key}`;
    const description = descriptionOf(child);
    return [...(description === "" ? [] : [{ setting, description }]), ...members(child, setting)];
  });
}

function shapeOf(schema: z.ZodType): Record<string, z.ZodType> {
  return "shape" in schema.def ? (schema.def.shape as Record<string, z.ZodType>) : {};
}

function unwrap(schema: z.ZodType): z.ZodType {
  return "innerType" in schema.def ? unwrap(schema.def.innerType as z.ZodType) : schema;
}

function descriptionOf(schema: z.ZodType): string {
  if (schema.description) return schema.description;
  return "innerType" in schema.def ? descriptionOf(schema.def.innerType as z.ZodType) : "";
}

/** Text from a variable or a flag is YAML: `8080` a number, `[a, b]` a list. */
function put(document: Record<string, unknown>, path: readonly string[], text: string): void {
  const [key, ...rest] = path;
  if (key === undefined || key === "__proto__") return;
  if (rest.length === 0) {
    document[key] = parse(text, { maxAliasCount: 0 });
    return;
  }
  const child = document[key];
  const map = child !== null && typeof child === "object" && !Array.isArray(child) ? (child as Record<string, unknown>) : {};
  document[key] = map;
  put(map, rest, text);
}

import { isGivenKey, isRecord, type Raw } from "./read.ts";

/** A case run again with a change. */
export interface Variant {
  readonly name: string;
  readonly given: Raw;
  readonly expect: Raw;
  /** What of the change nobody understands: it is not judged then. */
  readonly unknown: readonly string[];
}

/** What a variant says besides keys of what is given. */
export const VARIANT_KEYS: ReadonlySet<string> = new Set(["then", "expect", "name", "title", "note", "remove", "add", "set", "given"]);
/** Lists whose things have a name to be removed by. */
const NAMED: readonly (readonly [string, readonly string[]])[] = [
  ["pools", ["name"]],
  ["nodes", ["name"]],
  ["hosts", ["id", "name", "type"]],
  ["pods", ["id"]],
  ["gangs", ["id"]],
  ["tenants", ["name"]],
  ["daemons", ["id"]],
  ["windows", ["id", "name", "tenant"]],
  ["reservations", ["id", "name", "tenant"]],
  ["pdbs", ["name"]],
];

/** The variants of a case: `variant` or `variants`, a list or by name. */
export function variantsOf(given: Raw, expect: Raw): Variant[] {
  const listed = [expect.variant, expect.variants].flatMap((value): [string, unknown][] => {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value.map((one, nth) => [`variant ${nth + 1}`, one]);
    if (isRecord(value) && !isVariant(value)) return Object.entries(value);
    return [["variant", value]];
  });
  return listed.map(([name, raw]) => variantOf(name, raw, given));
}

function isVariant(value: Raw): boolean {
  return "then" in value || "expect" in value;
}

function variantOf(name: string, raw: unknown, given: Raw): Variant {
  if (!isRecord(raw)) return { name, given, expect: {}, unknown: [JSON.stringify(raw)] };
  const expect = raw.then ?? raw.expect;
  const changes: Raw = {
    ...(isRecord(raw.given) ? raw.given : {}),
    ...(isRecord(raw.set) ? raw.set : {}),
    ...Object.fromEntries(Object.entries(raw).filter(([key]) => !VARIANT_KEYS.has(key))),
  };
  const unknown: string[] = [];
  let changed: Raw = given;
  for (const [key, value] of Object.entries(changes)) {
    const next = isGivenKey(key) ? { ...changed, [key]: merged(changed[key], value) } : changedWithin(changed, key, value);
    if (next) changed = next;
    else unknown.push(key);
  }
  if (isRecord(raw.add))
    for (const [key, value] of Object.entries(raw.add)) changed = { ...changed, [key]: [...asList(changed[key]), ...asList(value)] };
  const removed = raw.remove === undefined ? undefined : without(changed, asList(raw.remove).map(String));
  const label = typeof raw.name === "string" ? raw.name : typeof raw.title === "string" ? raw.title : name;
  return {
    name: label,
    given: removed?.given ?? changed,
    expect: isRecord(expect) ? expect : {},
    unknown: [...unknown, ...(removed?.missing ?? []), ...(isRecord(expect) ? [] : ["then"])],
  };
}

/** Objects are merged key by key, things of a list by their names; all else is put in place of what was. */
function merged(before: unknown, after: unknown): unknown {
  if (!isRecord(after)) return after;
  if (!Array.isArray(before)) return isRecord(before) ? { ...before, ...after } : after;
  return before.map((one) => Object.entries(after).reduce((all, [name, change]) => (isNamed(one, name) ? merged(all, change) : all), one));
}

function isNamed(one: unknown, name: string): boolean {
  return isRecord(one) && (one.name === name || one.id === name);
}

/** `policy.wipeS`, `pods.a.prio`, `pools[0].limits`; or a key that a single thing of the case has. */
function changedWithin(given: Raw, key: string, value: unknown): Raw | undefined {
  const path = key.split(/[.[\]]+/).filter((part) => part !== "");
  const changed = path.length > 1 ? setAt(given, path, value) : undefined;
  if (changed !== undefined) return isRecord(changed) ? changed : undefined;
  const owners = Object.entries(given).flatMap(([list, things]): [string, Raw][] => {
    if (isRecord(things)) return key in things ? [[list, things]] : [];
    const [only, ...others] = Array.isArray(things) ? things : [];
    return others.length === 0 && isRecord(only) && key in only ? [[list, only]] : [];
  });
  const [owner, ...others] = owners;
  if (!owner || others.length > 0) return undefined;
  const [list, thing] = owner;
  const next = { ...thing, [key]: value };
  return { ...given, [list]: Array.isArray(given[list]) ? [next] : next };
}

/** The value with one of its parts changed; nothing when there is no such part. */
function setAt(whole: unknown, [part, ...rest]: readonly string[], value: unknown): unknown {
  if (part === undefined) return merged(whole, value);
  if (Array.isArray(whole)) {
    const at = whole.findIndex((one, nth) => String(nth) === part || isNamed(one, part));
    const changed = at < 0 ? undefined : setAt(whole[at], rest, value);
    return changed === undefined ? undefined : whole.with(at, changed);
  }
  if (whole !== undefined && !isRecord(whole)) return undefined;
  const changed = setAt(whole?.[part], rest, value);
  return changed === undefined ? undefined : { ...whole, [part]: changed };
}

function asList(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

function without(given: Raw, names: readonly string[]): { given: Raw; missing: string[] } {
  const missing = new Set(names);
  let changed: Raw = given;
  for (const [key, fields] of NAMED) {
    const list = changed[key];
    if (!Array.isArray(list)) continue;
    const kept = list.filter((one) => {
      const found = isRecord(one)
        ? fields.map((field) => one[field]).find((value) => typeof value === "string" && names.includes(value))
        : undefined;
      if (found !== undefined) missing.delete(String(found));
      return found === undefined;
    });
    if (kept.length < list.length) changed = { ...changed, [key]: kept };
  }
  if (isRecord(changed.catalog)) {
    const kept = Object.entries(changed.catalog).filter(([name]) => !names.includes(name));
    for (const name of Object.keys(changed.catalog)) missing.delete(name);
    changed = { ...changed, catalog: Object.fromEntries(kept) };
  }
  for (const name of [...missing]) {
    if (!(name in changed)) continue;
    missing.delete(name);
    changed = Object.fromEntries(Object.entries(changed).filter(([key]) => key !== name));
  }
  return { given: changed, missing: [...missing] };
}

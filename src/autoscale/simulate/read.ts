import { parse } from "yaml";
import type { z } from "zod";
import { IronwrightError, reasonOf } from "../../core/errors.ts";
import { parseQuantity } from "../../core/quantity.ts";
import { budgetProblem } from "../plan/index.ts";
import * as form from "./form.ts";
import { inOwnOrder } from "./order.ts";
import { budgetOf } from "./rules.ts";
import { spanOf, type Window, window } from "./windows.ts";

/** A part of a scenario that was not taken as it is. */
export interface Problem {
  /** `given.pods[3].cpu` */
  readonly path: string;
  readonly reason: string;
}

/** One node of an entry. */
export interface Node extends form.Node {
  /** The entry's name: `n` of the nodes `n-0`, `n-1` … */
  readonly entry: string;
}

/**
 * What a case gives, read: what is wrong with one thing refuses that thing alone. Lists are in an order of their own, so
 * that nothing depends on where a thing stands in the file.
 */
export interface Given {
  readonly types: ReadonlyMap<string, form.Type>;
  /** Absent: servers of every type without end. */
  readonly hosts: readonly form.Host[] | undefined;
  readonly pools: readonly form.Pool[];
  readonly nodes: readonly Node[];
  readonly daemons: readonly form.Pod[];
  readonly pods: readonly form.Pod[];
  readonly gangs: readonly form.Gang[];
  readonly tenants: readonly form.Tenant[];
  readonly windows: readonly Window[];
  readonly pdbs: readonly form.DisruptionBudget[];
  readonly policy: form.Policy;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly disrupt: boolean;
  /** Things left out, and why. */
  readonly refused: readonly Problem[];
  /** Keys nobody knows; the rest of their thing was taken. */
  readonly ignored: readonly Problem[];
}

export type Raw = Readonly<Record<string, unknown>>;

/** One case of a file: what is given, and what is expected of the decision. */
export interface Case {
  readonly id: string;
  readonly title: string;
  readonly given: Raw;
  readonly expect: Raw;
  /** Keys of the case itself that nobody knows. */
  readonly ignored: readonly Problem[];
}

/** What a case may say; but for what it gives and expects it decides nothing. */
export const CASE_KEYS: ReadonlySet<string> = new Set([
  "id",
  "kind",
  "origin",
  "title",
  "given",
  "expect",
  "upstream",
  "variant",
  "variants",
  "note",
  "notes",
  "why",
  "source",
  "tags",
]);
const UNKNOWN = "there is no such key; it was ignored";

const LISTS = {
  pools: form.pool,
  nodes: form.node,
  daemons: form.pod,
  pods: form.pod,
  gangs: form.gang,
  tenants: form.tenant,
  pdbs: form.disruptionBudget,
} as const;
type ListName = keyof typeof LISTS;

export const GIVEN_KEYS: ReadonlySet<string> = new Set([
  "catalog",
  "hosts",
  ...Object.keys(LISTS),
  "windows",
  "reservations",
  "policy",
  "now",
  "disrupt",
  "replay",
]);

export function isGivenKey(key: string): boolean {
  return GIVEN_KEYS.has(key);
}

/**
 * The cases of a text in YAML or JSON: a list of cases, `{cases: […]}`, one case, or only what is given.
 * @throws IRW_SCENARIO_INVALID when the text is none of these
 */
export function readCases(text: string, source: string): Case[] {
  const document = documentOf(text, source);
  if (isRecord(document) && Object.keys(document).length === 0) return [{ id: "case 1", title: "", given: {}, expect: {}, ignored: [] }];
  const list = Array.isArray(document) ? document : isRecord(document) && Array.isArray(document.cases) ? document.cases : [document];
  return list.map((one, nth) => {
    if (!isRecord(one)) throw invalid(source, `  [${nth}]: expected a case: {id, given, expect}`);
    return caseOf(one, nth, source);
  });
}

function caseOf(one: Raw, nth: number, source: string): Case {
  const bare = one.given === undefined && Object.keys(one).some(isGivenKey);
  const given = bare ? one : one.given;
  if (!isRecord(given)) throw invalid(source, `  [${nth}].given: expected an object with catalog, hosts, pods …`);
  const { variant, variants } = one;
  return {
    id: typeof one.id === "string" ? one.id : `case ${nth + 1}`,
    title: typeof one.title === "string" ? one.title : "",
    // what else a bare scenario says is named when it is read
    given: bare ? Object.fromEntries(Object.entries(one).filter(([key]) => !CASE_KEYS.has(key))) : given,
    expect: {
      ...(isRecord(one.expect) ? one.expect : {}),
      ...(variant === undefined ? {} : { variant }),
      ...(variants === undefined ? {} : { variants }),
    },
    ignored: bare ? [] : Object.keys(one).flatMap((key) => (CASE_KEYS.has(key) ? [] : [{ path: key, reason: UNKNOWN }])),
  };
}

function documentOf(text: string, source: string): unknown {
  try {
    return /^\s*[[{]/.test(text) ? JSON.parse(text) : parse(text, { maxAliasCount: 100 });
  } catch (error) {
    // what begins like JSON may still be YAML in flow style
    try {
      return parse(text, { maxAliasCount: 100 });
    } catch {
      throw invalid(source, `  ${reasonOf(error)}`, error);
    }
  }
}

function invalid(source: string, problems: string, cause?: unknown): IronwrightError {
  return new IronwrightError("IRW_SCENARIO_INVALID", { source, problems }, cause);
}

export function isRecord(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class Notes {
  readonly refused: Problem[] = [];
  readonly ignored: Problem[] = [];

  /** The value read, or nothing: then why is in `refused`. */
  take<T extends z.ZodType>(schema: T, said: unknown, path: string): z.output<T> | undefined {
    const value = withoutNothing(said);
    const first = schema.safeParse(value);
    if (first.success) return first.data;
    const unknown = first.error.issues.filter((issue) => issue.code === "unrecognized_keys");
    if (unknown.length < first.error.issues.length) {
      this.refuse(path, first.error.issues);
      return undefined;
    }
    for (const issue of unknown)
      for (const key of issue.keys) this.ignored.push({ path: `${path}${pathText(issue.path)}.${key}`, reason: UNKNOWN });
    const second = schema.safeParse(without(value, unknown));
    if (second.success) return second.data;
    this.refuse(path, second.error.issues);
    return undefined;
  }

  private refuse(path: string, issues: readonly z.core.$ZodIssue[]): void {
    for (const issue of issues) this.refused.push({ path: `${path}${pathText(issue.path)}`, reason: reasonIn(issue) });
  }
}

/** `null` says no more than a key left out, but for a node's pool: there it is nobody's. */
function withoutNothing(value: unknown): unknown {
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([key, one]) => one !== null || key === "pool"));
}

/** What a union minds is what its closest member minds. */
function reasonIn(issue: z.core.$ZodIssue): string {
  if (issue.code !== "invalid_union") return issue.message;
  const deepest = issue.errors
    .flat()
    .sort((a, b) => Number(b.code === "custom") - Number(a.code === "custom") || b.path.length - a.path.length)[0];
  if (!deepest) return issue.message;
  const inner = pathText(deepest.path);
  return `${inner === "" ? "" : `${inner.replace(/^\./, "")}: `}${reasonIn(deepest)}`;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
}

function without(value: unknown, issues: readonly { readonly path: readonly PropertyKey[]; readonly keys: readonly string[] }[]): unknown {
  const copy: unknown = structuredClone(value);
  for (const issue of issues) {
    let at: unknown = copy;
    for (const part of issue.path) at = (at as Record<PropertyKey, unknown> | undefined)?.[part];
    for (const key of issue.keys) if (isRecord(at)) delete (at as Record<string, unknown>)[key];
  }
  return copy;
}

/** Reads what a case gives. */
export function readGiven(raw: Raw): Given {
  const notes = new Notes();
  for (const key of Object.keys(raw)) if (!isGivenKey(key)) notes.ignored.push({ path: `given.${key}`, reason: UNKNOWN });
  const types = readTypes(raw.catalog, notes);
  const list = <K extends ListName>(key: K) => readList(LISTS[key], raw[key], `given.${key}`, notes) as z.output<(typeof LISTS)[K]>[];
  const knownType = (path: string, name: string) => {
    if (types.has(name)) return true;
    notes.refused.push({ path: `${path}.type`, reason: `the catalog has no type ${name}` });
    return false;
  };
  const now = raw.now === undefined ? 0 : (notes.take(form.now, raw.now, "given.now") ?? 0);
  const policy = readPolicy(raw.policy, notes);
  const pools = poolsOf(raw, list("pools"), notes);
  for (const pool of pools) nameBudgets(pool.budgets, `given.pools[${pool.name}]`, notes);
  nameBudgets(policy.budgets, "given.policy", notes);
  const hosts = raw.hosts === undefined ? undefined : readHosts(raw.hosts, types, notes);
  return {
    types,
    hosts: hosts?.filter((one) => knownType(`given.hosts[${asListed(raw.hosts, one)}]`, one.type)),
    pools,
    nodes: unique(
      list("nodes")
        .filter((one) => knownType(`given.nodes[${one.name}]`, one.type))
        .flatMap(nodesOf),
      nameIn("given.nodes"),
      notes,
    ),
    daemons: list("daemons"),
    pods: list("pods"),
    gangs: unique(
      list("gangs").filter((one) => isWhole(one, notes)),
      ({ id }) => `given.gangs[${id}].id`,
      notes,
      ({ tenant = "", id }) => `${tenant}/${id}`,
    ),
    tenants: unique(list("tenants"), nameIn("given.tenants"), notes),
    windows: ["windows", "reservations"]
      .flatMap((key) => readWindows(raw[key], `given.${key}`, now, notes))
      .filter((one) => one.type === undefined || knownType(one.path, one.type)),
    pdbs: list("pdbs"),
    policy,
    now,
    disrupt: raw.disrupt === undefined ? false : (notes.take(form.disrupt, raw.disrupt, "given.disrupt") ?? false),
    refused: notes.refused,
    ignored: notes.ignored,
  };
}

/** A rule that is wrong is refused alone. */
function readPolicy(raw: unknown, notes: Notes): form.Policy {
  if (raw === undefined || raw === null) return form.policy.parse({});
  if (!isRecord(raw)) {
    notes.take(form.policy, raw, "given.policy");
    return form.policy.parse({});
  }
  const rules = Object.entries(raw).map(([key, value]): Partial<form.Policy> => {
    const read = notes.take(form.policy, { [key]: value }, "given.policy");
    return read !== undefined && isRule(key) ? { [key]: read[key] } : {};
  });
  return Object.assign(form.policy.parse({}), ...rules);
}

function isRule(key: string): key is keyof form.Policy {
  return key in form.policy.shape;
}

/** Where an entry stands in the file, as far as its type tells. */
function asListed(raw: unknown, host: form.Host): number {
  return Array.isArray(raw) ? raw.findIndex((one) => isRecord(one) && one.type === host.type) : 0;
}

function readTypes(raw: unknown, notes: Notes): Map<string, form.Type> {
  const types = new Map<string, form.Type>();
  for (const [name, value] of Object.entries(isRecord(raw) ? raw : {})) {
    const one = notes.take(form.type, value, `given.catalog.${name}`);
    if (one) types.set(name, one);
  }
  return types;
}

/** A bare number is so many of the one type there is: variants say "one spare" that way. */
function readHosts(raw: unknown, types: ReadonlyMap<string, form.Type>, notes: Notes): form.Host[] {
  if (typeof raw !== "number") return readList(form.host, raw, "given.hosts", notes);
  const [only] = types.keys();
  if (only === undefined) return [];
  return readList(form.host, [{ type: only, n: raw, id: "spare" }], "given.hosts", notes);
}

function readList<T extends z.ZodType>(schema: T, raw: unknown, path: string, notes: Notes): z.output<T>[] {
  if (raw === undefined || raw === null) return [];
  if (!Array.isArray(raw)) {
    notes.refused.push({ path, reason: "expected a list" });
    return [];
  }
  const read = raw.flatMap((value, nth) => {
    const one = notes.take(schema, value, `${path}[${nth}]`);
    return one === undefined ? [] : [one];
  });
  return inOwnOrder(read);
}

/** The nodes of an entry: `n` of them are `NAME-0`, `NAME-1` … */
function nodesOf(node: form.Node): Node[] {
  if (node.n === 1) return [{ ...node, entry: node.name }];
  return Array.from({ length: node.n }, (_, nth) => ({ ...node, name: `${node.name}-${nth}`, entry: node.name }));
}

function readWindows(raw: unknown, list: string, now: number, notes: Notes): Window[] {
  return readList(window, raw, list, notes).flatMap(({ from, to, ...rest }) => {
    const path = `${list}[${rest.name ?? rest.tenant}]`;
    const span = spanOf(from, to, now);
    if (span.endsInS > span.startsInS) return [{ ...rest, ...span, path }];
    notes.refused.push({ path, reason: "ends before it begins" });
    return [];
  });
}

/** A budget that cannot be read allows nothing, and so its pool stays as it is; that is said. */
function nameBudgets(budgets: form.Pool["budgets"], path: string, notes: Notes): void {
  for (const [nth, one] of (budgets ?? []).entries()) {
    const problem = budgetProblem(budgetOf(one));
    if (problem !== undefined) notes.refused.push({ path: `${path}.budgets[${nth}]`, reason: `${problem}; it allows nothing` });
  }
}

/** One pool `p` unless the case has its own. */
function poolsOf(raw: Raw, pools: readonly form.Pool[], notes: Notes): form.Pool[] {
  if (raw.pools === undefined) return [form.pool.parse({ name: "p" })];
  return unique(pools, nameIn("given.pools"), notes).filter((pool) => {
    const wrong = Object.entries(pool.limits).find(([, limit]) => parseQuantity(limit) === undefined);
    if (wrong)
      notes.refused.push({ path: `given.pools[${pool.name}].limits.${wrong[0]}`, reason: `${JSON.stringify(wrong[1])} is not a quantity` });
    return wrong === undefined;
  });
}

function nameIn(list: string): (one: { readonly name: string }) => string {
  return ({ name }) => `${list}[${name}].name`;
}

/** @param pathOf where a thing's name is said; things that must not share a name share it too, unless `keyOf` tells them apart */
function unique<T>(list: readonly T[], pathOf: (one: T) => string, notes: Notes, keyOf = pathOf): T[] {
  const seen = new Set<string>();
  return list.filter((one) => {
    const key = keyOf(one);
    const fresh = !seen.has(key);
    seen.add(key);
    if (!fresh) notes.refused.push({ path: pathOf(one), reason: "there is another of this name" });
    return fresh;
  });
}

function isWhole(gang: form.Gang, notes: Notes): boolean {
  if (gang.size === undefined || gang.size >= gang.min) return true;
  notes.refused.push({ path: `given.gangs[${gang.id}].size`, reason: `is less than its min of ${gang.min}` });
  return false;
}

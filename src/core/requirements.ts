import type { Requirement } from "./resources.ts";

/**
 * Which values of one label are wanted: a part of all strings plus "the label is absent".
 * Either the values listed, or (complement) all but those, within integer bounds.
 */
export interface ValueSet {
  readonly complement: boolean;
  readonly values: ReadonlySet<string>;
  /** Whether a node without the label satisfies it (NotIn, DoesNotExist). */
  readonly absent: boolean;
  /** Inclusive; only on complements. What is not an integer satisfies no bound. */
  readonly atLeast?: bigint;
  readonly atMost?: bigint;
  /** How many values must stay possible; meant for planners that choose among types later, kept for users' YAML. */
  readonly minValues?: number;
}

/** What is wanted of each label; a label that is not mentioned may be anything. */
export type Requirements = ReadonlyMap<string, ValueSet>;

/** A label of a pseudo kind: `matchFields` knows this one field. */
export const FIELD_NAME = "metadata.name";

const NONE: ReadonlySet<string> = new Set();
const ANY: ValueSet = { complement: true, values: NONE, absent: true };
const NOTHING: ValueSet = { complement: false, values: NONE, absent: false };

/** An int64 as Go's ParseInt reads it, or undefined. */
function integer(text: string): bigint | undefined {
  if (!/^[+-]?[0-9]{1,63}$/.test(text)) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value >= -(2n ** 63n) && value < 2n ** 63n ? value : undefined;
}

export function valueSet(requirement: Requirement): ValueSet {
  const values = new Set(requirement.values ?? []);
  const few = requirement.minValues === undefined ? {} : { minValues: requirement.minValues };
  const bound = integer(requirement.values?.[0] ?? "");
  switch (requirement.operator) {
    case "In":
      return { complement: false, values, absent: false, ...few };
    case "NotIn":
      return { complement: true, values, absent: true, ...few };
    case "Exists":
      return { complement: true, values: NONE, absent: false, ...few };
    case "DoesNotExist":
      return { complement: false, values: NONE, absent: true, ...few };
    case "Gt":
      return bound === undefined ? NOTHING : { complement: true, values: NONE, absent: false, atLeast: bound + 1n, ...few };
    case "Gte":
      return bound === undefined ? NOTHING : { complement: true, values: NONE, absent: false, atLeast: bound, ...few };
    case "Lt":
      return bound === undefined ? NOTHING : { complement: true, values: NONE, absent: false, atMost: bound - 1n, ...few };
    case "Lte":
      return bound === undefined ? NOTHING : { complement: true, values: NONE, absent: false, atMost: bound, ...few };
  }
}

export function allows(set: ValueSet, value: string): boolean {
  if (set.complement === set.values.has(value)) return false;
  return inBounds(set, value);
}

function inBounds(set: ValueSet, value: string): boolean {
  if (set.atLeast === undefined && set.atMost === undefined) return true;
  const number = integer(value);
  if (number === undefined) return false;
  return (set.atLeast === undefined || number >= set.atLeast) && (set.atMost === undefined || number <= set.atMost);
}

/** No value satisfies it, nor does absence. */
export function isEmpty(set: ValueSet): boolean {
  return !set.complement && set.values.size === 0 && !set.absent;
}

/** Exactly what satisfies both. */
export function intersectValues(a: ValueSet, b: ValueSet): ValueSet {
  const atLeast = pick(a.atLeast, b.atLeast, larger);
  const atMost = pick(a.atMost, b.atMost, smaller);
  const minValues = pick(a.minValues, b.minValues, (x, y) => Math.max(x, y));
  const absent = a.absent && b.absent;
  const few = minValues === undefined ? {} : { minValues };
  const crossing = atLeast !== undefined && atMost !== undefined && atLeast > atMost;
  if (crossing) return { complement: false, values: NONE, absent, ...few };
  if (a.complement && b.complement) {
    return {
      complement: true,
      values: new Set([...a.values, ...b.values]),
      absent,
      ...(atLeast === undefined ? {} : { atLeast }),
      ...(atMost === undefined ? {} : { atMost }),
      ...few,
    };
  }
  const [listed, other] = a.complement ? [b, a] : [a, b];
  return { complement: false, values: new Set([...listed.values].filter((value) => allows(other, value))), absent, ...few };
}

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

function pick<T>(a: T | undefined, b: T | undefined, choose: (a: T, b: T) => T): T | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : choose(a, b);
}

export function requirementsOf(list: readonly Requirement[]): Requirements {
  const all = new Map<string, ValueSet>();
  for (const one of list) all.set(one.key, intersectValues(all.get(one.key) ?? ANY, valueSet(one)));
  return all;
}

/** What a node with these labels offers. */
export function requirementsOfLabels(labels: Readonly<Record<string, string>>): Requirements {
  return new Map(Object.entries(labels).map(([key, value]) => [key, { complement: false, values: new Set([value]), absent: false }]));
}

export function intersect(a: Requirements, b: Requirements): Requirements {
  const all = new Map(a);
  for (const [key, set] of b) all.set(key, intersectValues(all.get(key) ?? ANY, set));
  return all;
}

/** The label on which a request fails on what is offered; undefined when it is compatible. A label not offered is absent. */
export function conflict(offered: Requirements, wanted: Requirements): string | undefined {
  for (const [key, set] of wanted) {
    const offer = offered.get(key);
    const fits = offer === undefined ? set.absent : !isEmpty(intersectValues(offer, set));
    if (!fits) return key;
  }
  return undefined;
}

export function compatible(offered: Requirements, wanted: Requirements): boolean {
  return conflict(offered, wanted) === undefined;
}

/** A label of which nothing is possible any more: the request contradicts itself. */
export function contradiction(requirements: Requirements): string | undefined {
  for (const [key, set] of requirements) if (isEmpty(set)) return key;
  return undefined;
}

/** The labels a node gets from what is still possible: the value where only listed ones are, the smallest of several. */
export function labelsOf(requirements: Requirements): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [key, set] of requirements) {
    const first = set.complement ? undefined : [...set.values].sort()[0];
    if (first !== undefined) labels[key] = first;
  }
  return labels;
}

/** Back to what the API speaks, sorted by label. Bounds come before the values left out. */
export function toList(requirements: Requirements): Requirement[] {
  return [...requirements].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([key, set]) => listOf(key, set));
}

function listOf(key: string, set: ValueSet): Requirement[] {
  const few = set.minValues === undefined ? {} : { minValues: set.minValues };
  const values = [...set.values].sort();
  if (!set.complement) {
    if (values.length > 0) return [{ key, operator: "In", values, ...few }];
    // nothing at all has no operator of its own: two that exclude each other say it
    return set.absent
      ? [{ key, operator: "DoesNotExist", ...few }]
      : [
          { key, operator: "DoesNotExist", ...few },
          { key, operator: "Exists" },
        ];
  }
  const list: Requirement[] = [];
  if (set.atLeast !== undefined) list.push({ key, operator: "Gte", values: [String(set.atLeast)], ...few });
  if (set.atMost !== undefined) list.push({ key, operator: "Lte", values: [String(set.atMost)], ...few });
  if (values.length > 0) list.push({ key, operator: "NotIn", values, ...few });
  if (!set.absent && list.every((one) => one.operator === "NotIn")) list.push({ key, operator: "Exists", ...few });
  return list;
}

/** One term of a pod's required node affinity. */
export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly Requirement[];
  readonly matchFields?: readonly Requirement[];
}

/** What a term wants; undefined for an empty term, which matches no node. Fields are labels of their own name. */
export function requirementsOfTerm(term: NodeSelectorTerm): Requirements | undefined {
  const list = [...(term.matchExpressions ?? []), ...(term.matchFields ?? [])];
  return list.length === 0 ? undefined : requirementsOf(list);
}

/** Why a requirement is not valid, for people; undefined when it is. */
export function requirementProblem(requirement: Requirement): string | undefined {
  const count = requirement.values?.length ?? 0;
  switch (requirement.operator) {
    case "In":
    case "NotIn":
      return count === 0 ? `${requirement.operator} needs at least one value` : undefined;
    case "Exists":
    case "DoesNotExist":
      return count > 0 ? `${requirement.operator} takes no values` : undefined;
    case "Gt":
    case "Lt":
    case "Gte":
    case "Lte":
      return count !== 1 || integer(requirement.values?.[0] ?? "") === undefined
        ? `${requirement.operator} needs exactly one integer`
        : undefined;
    default:
      return `unknown operator ${JSON.stringify(requirement.operator)}`;
  }
}

/** A metav1.LabelSelector; an empty one matches everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly Requirement[];
}

export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const wanted = intersect(requirementsOfLabels(selector.matchLabels ?? {}), requirementsOf(selector.matchExpressions ?? []));
  return compatible(requirementsOfLabels(labels), wanted);
}

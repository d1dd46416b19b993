import { LABEL_HOSTNAME, LABEL_MACHINE } from "../../core/names.ts";
import {
  allows,
  FIELD_NAME,
  intersectValues,
  isEmpty,
  type LabelSelector,
  type Requirements,
  requirementsOf,
  type ValueSet,
} from "../../core/requirements.ts";

/** What a place says of one label: its value, what is still possible of it, or nothing. */
export type Offered = string | ValueSet | undefined;

/** Looks a label up. */
export type Labels = (key: string) => Offered;

/** A label of its own: "constructor" is a label's name like any, and every object has something of that name. */
export function labelIn(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** Labels no two places share: they are never part of what places have in common. */
export const OWN_NAME: ReadonlySet<string> = new Set([LABEL_HOSTNAME, LABEL_MACHINE, FIELD_NAME]);

export function meets(offered: Offered, set: ValueSet): boolean {
  if (offered === undefined) return set.absent;
  return typeof offered === "string" ? allows(set, offered) : !isEmpty(intersectValues(offered, set));
}

/** The label on which a term fails; undefined when it holds. */
export function failsOn(labels: Labels, term: Requirements): string | undefined {
  for (const [key, set] of term) if (!meets(labels(key), set)) return key;
  return undefined;
}

/** A label selector made ready: it is asked once for each kind of pods. */
export type Selects = (labels: Readonly<Record<string, string>>) => boolean;

export function selects(selector: LabelSelector | undefined): Selects {
  if (selector === undefined) return () => false;
  const equal = Object.entries(selector.matchLabels ?? {});
  const rest = [...requirementsOf(selector.matchExpressions ?? [])];
  return (labels) => equal.every(([key, value]) => labels[key] === value) && rest.every(([key, set]) => meets(labelIn(labels, key), set));
}

/** The labels a selector looks at. */
export function keysOf(selector: LabelSelector | undefined): string[] {
  return [...Object.keys(selector?.matchLabels ?? {}), ...(selector?.matchExpressions ?? []).map((one) => one.key)];
}

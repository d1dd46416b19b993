import type { Parameters, VirtualClusterTemplateSpec } from "../../core/virtual-clusters.ts";
import { readParameters, type Values } from "./parameters.ts";

export type Tree = Readonly<Record<string, unknown>>;

/** Of all strings of an expanded spec together: a small template cannot become a large one. */
const MOST_CHARACTERS = 256 * 1_024;
/** `$${`, `${name}`, or a `${` that never ends. */
const OPENING = /\$\$\{|\$\{([^{}]*)\}|\$\{/g;

/**
 * A template's spec with its parameters filled in. Values are put into the strings of a tree that is parsed already, once, and are
 * never looked at again: whatever they hold, they are text in that string, and no key, list or field comes to be by them.
 * @param problems gets what is wrong, each with the field's path
 */
export function expand({ parameters = {}, template }: VirtualClusterTemplateSpec, given: Parameters, problems: string[]): Tree {
  const values = readParameters(parameters, given, problems);
  if (problems.length > 0) return {};
  const budget = { left: MOST_CHARACTERS };

  function filled(value: unknown, path: string): unknown {
    if (typeof value === "string") return filledText(value, path);
    if (Array.isArray(value)) return value.map((one, at) => filled(one, `${path}[${at}]`));
    return typeof value === "object" && value !== null ? filledTree(value, path) : value;
  }

  function filledTree(value: object, path: string): Tree {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one, `${path}.${key}`)]));
  }

  function filledText(text: string, path: string): unknown {
    const whole = /^\$\{([^{}]*)\}$/.exec(text)?.[1];
    if (whole !== undefined && values.has(whole)) return values.get(whole);
    const full = text.replace(OPENING, (opening, name: string | undefined) => {
      if (opening === "$${") return "${";
      const value = name === undefined ? undefined : values.get(name);
      if (value === undefined) problems.push(`the template's ${path}: ${nameProblem(opening, name, values)}`);
      budget.left -= String(value).length;
      return budget.left < 0 ? "" : String(value);
    });
    budget.left -= text.length;
    return full;
  }

  const spec = filledTree(template, "spec.template");
  if (budget.left < 0) problems.push(`the template's spec.template: has more than ${MOST_CHARACTERS} characters once it is filled in`);
  return problems.length > 0 ? {} : spec;
}

function nameProblem(opening: string, name: string | undefined, values: Values): string {
  if (name === undefined) return `${opening} is not closed; write $\${ for the characters`;
  const names = [...values.keys()];
  return `there is no parameter ${JSON.stringify(name)}; there ${names.length > 0 ? `are ${names.join(", ")}` : "is none"}`;
}

/** What is given over what a template says, field by field; lists are given whole. */
export function overlaid(below: Tree, above: Tree): Tree {
  const fields = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    const under = fields.get(key);
    fields.set(key, isTree(under) && isTree(value) ? overlaid(under, value) : value);
  }
  return Object.fromEntries(fields);
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

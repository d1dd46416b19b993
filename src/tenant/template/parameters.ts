import { parseDuration } from "../../core/duration.ts";
import { parseQuantity } from "../../core/quantity.ts";
import type { Parameter, ParameterSchema, Parameters } from "../../core/virtual-clusters.ts";
import { readPattern } from "./pattern.ts";

/** Values by name, of the types the template wants. */
export type Values = ReadonlyMap<string, Parameter>;

const NAME = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const LONGEST = 1_024;

/**
 * The value of each parameter, as its schema wants it: text from a command line becomes an integer or a truth value.
 * @param problems gets what is wrong, each with the field's path
 */
export function readParameters(schemas: Readonly<Record<string, ParameterSchema>>, given: Parameters, problems: string[]): Values {
  const values = new Map<string, Parameter>();
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(schemas, name)) continue;
    const names = Object.keys(schemas);
    problems.push(
      `spec.templateRef.parameters.${name}: the template has no such parameter; it has ${names.length > 0 ? names.join(", ") : "none"}`,
    );
  }
  for (const [name, schema] of Object.entries(schemas)) {
    const at = `the template's spec.parameters.${name}`;
    const wrong = schemaProblem(name, schema);
    if (wrong !== undefined) {
      problems.push(`${at}${wrong}`);
      continue;
    }
    const own = Object.hasOwn(given, name) ? given[name] : undefined;
    const value = own ?? schema.default;
    const where = own === undefined ? `${at}.default` : `spec.templateRef.parameters.${name}`;
    if (value === undefined) {
      problems.push(`spec.templateRef.parameters.${name}: missing; expected ${expected(schema)}${hint(schema)}`);
      continue;
    }
    const read = typed(schema, value);
    const problem = read === undefined ? `expected ${expected(schema)}, got ${JSON.stringify(value)}` : valueProblem(schema, read);
    if (problem !== undefined || read === undefined) problems.push(`${where}: ${problem}`);
    else values.set(name, read);
  }
  return values;
}

function schemaProblem(name: string, { type, pattern, min, max, enum: list }: ParameterSchema): string | undefined {
  if (!NAME.test(name)) return ": expected a name of letters, digits and _, beginning with a letter";
  if (pattern !== undefined) {
    if (type !== "string") return `.pattern: is for strings, and this is of type ${type}`;
    const read = readPattern(pattern);
    if (typeof read === "string") return `.pattern: ${JSON.stringify(pattern)}: ${read}`;
  }
  for (const [field, limit] of Object.entries({ min, max })) {
    if (limit === undefined) continue;
    if (type === "boolean") return `.${field}: a truth value has none`;
    if (sizeOfLimit(type, limit) === undefined)
      return `.${field}: expected ${type === "string" ? "a length" : article(type)}, got ${JSON.stringify(limit)}`;
  }
  const odd = list?.find((one) => typed({ type }, one) === undefined);
  return odd === undefined ? undefined : `.enum: expected ${article(type)}, got ${JSON.stringify(odd)}`;
}

/** The value as its type wants it, or undefined when it is none. */
function typed({ type }: Pick<ParameterSchema, "type">, value: unknown): Parameter | undefined {
  if (typeof value === "string" && value.length > LONGEST) return undefined;
  switch (type) {
    case "string":
      return typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
    case "boolean":
      return typeof value === "boolean" ? value : value === "true" ? true : value === "false" ? false : undefined;
    case "integer":
      return integer(value);
    case "quantity":
      return (typeof value === "string" || typeof value === "number") && parseQuantity(value) !== undefined ? value : undefined;
    case "duration":
      return typeof value === "string" && parseDuration(value) !== undefined ? value : undefined;
  }
}

function integer(value: unknown): number | undefined {
  const number = typeof value === "string" && /^-?[0-9]{1,16}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
}

function valueProblem(schema: ParameterSchema, value: Parameter): string | undefined {
  const { type, min, max, enum: list, pattern } = schema;
  if (list && !list.some((one) => typed(schema, one) === value)) return `expected one of ${list.join(", ")}, got ${JSON.stringify(value)}`;
  const size = sizeOf(type, value);
  const [least, most] = [min, max].map((limit) => (limit === undefined ? undefined : sizeOfLimit(type, limit)));
  const what = type === "string" ? " characters" : "";
  if (least !== undefined && size < least) return `expected at least ${min}${what}, got ${JSON.stringify(value)}`;
  if (most !== undefined && size > most) return `expected at most ${max}${what}, got ${JSON.stringify(value)}`;
  const read = pattern === undefined ? undefined : readPattern(pattern);
  if (read !== undefined && typeof read !== "string" && !read.matches(String(value)))
    return `expected a text such as ${pattern}, got ${JSON.stringify(value)}`;
  return undefined;
}

/** What is compared with min and max. */
function sizeOf(type: ParameterSchema["type"], value: Parameter): number | bigint {
  if (type === "string") return [...String(value)].length;
  if (type === "quantity" && typeof value !== "boolean") return parseQuantity(value) ?? 0n;
  if (type === "duration") return parseDuration(String(value)) ?? 0;
  return Number(value);
}

function sizeOfLimit(type: ParameterSchema["type"], limit: string | number): number | bigint | undefined {
  if (type === "quantity") return parseQuantity(limit);
  if (type === "duration") return typeof limit === "string" ? parseDuration(limit) : undefined;
  return integer(limit);
}

function expected({ type, enum: list }: ParameterSchema): string {
  return list ? `one of ${list.join(", ")}` : article(type);
}

function hint({ description }: ParameterSchema): string {
  return description === undefined ? "" : ` (${description})`;
}

function article(type: ParameterSchema["type"]): string {
  return {
    string: "a text",
    integer: "a whole number",
    boolean: "true or false",
    quantity: "a quantity",
    duration: "a duration such as 30m",
  }[type];
}

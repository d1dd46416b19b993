import { z } from "zod";
import { type LabelSelector, requirementProblem } from "../../core/requirements.ts";
import type { Requirement, Taint } from "../../core/resources.ts";
import type { Toleration } from "../plan/index.ts";
import { count } from "./amounts.ts";
import { labelOf, labelsOfShort } from "./labels.ts";

/** The short forms of a scenario, read into what the planner speaks. */

const OPERATORS: ReadonlyMap<string, Requirement["operator"]> = new Map(
  (["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"] as const).map((one) => [one.toLowerCase(), one]),
);
const EFFECTS: ReadonlyMap<string, Taint["effect"]> = new Map(
  (["NoSchedule", "PreferNoSchedule", "NoExecute"] as const).map((one) => [one.toLowerCase(), one]),
);

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const text = scalar.transform(String);

/** `[key, op, ...values]`, with `{minValues: n}` at the end where wanted; or the object Kubernetes writes. */
export const requirement = z
  .union([
    z.array(z.union([scalar, z.object({ minValues: z.int().min(1) })])).min(2),
    z.strictObject({
      key: z.string(),
      operator: z.string().optional(),
      op: z.string().optional(),
      values: z.array(scalar).optional(),
      minValues: z.int().min(1).optional(),
    }),
  ])
  .transform((value, context): Requirement => {
    const read = Array.isArray(value) ? ofTuple(value) : value;
    const named = read.operator ?? ("op" in read ? read.op : undefined) ?? "";
    const operator = OPERATORS.get(named.toLowerCase());
    if (operator === undefined) {
      context.addIssue({ code: "custom", message: `${JSON.stringify(named)} is no operator` });
      return z.NEVER;
    }
    const values = (read.values ?? []).map(String);
    const one: Requirement = {
      key: labelOf(read.key),
      operator,
      ...(values.length > 0 ? { values } : {}),
      ...(read.minValues === undefined ? {} : { minValues: read.minValues }),
    };
    const problem = requirementProblem(one);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
    return one;
  });

type Part = z.infer<typeof scalar> | { minValues: number };

function ofTuple(parts: readonly Part[]) {
  const [key, operator, ...rest] = parts;
  const few = rest.find((part) => typeof part === "object");
  return {
    key: String(key),
    operator: String(operator),
    values: rest.filter((part) => typeof part !== "object"),
    minValues: few?.minValues,
  };
}

export const requirements = z.array(requirement);

/** A list of alternatives, each a list of requirements; one bare list is one alternative. */
export const terms = z.preprocess(
  (value) => (Array.isArray(value) && value.length > 0 && value.every((one) => isTuple(one)) ? [value] : value),
  z.array(requirements),
);

function isTuple(value: unknown): boolean {
  if (Array.isArray(value)) return typeof value[0] === "string";
  return typeof value === "object" && value !== null && ("operator" in value || "op" in value);
}

/** One term: a list of requirements, or a single one. */
const term = z.preprocess((value) => (isTuple(value) ? [value] : value), requirements);

const weight = z.int().min(1).max(100);
/** `[weight, term]`. */
export const preference = z.tuple([weight, term]).transform(([heft, wanted]) => ({ weight: heft, term: wanted }));

/** `k=v:Effect`, `k:Effect`, or the object Kubernetes writes. */
export const taint = z
  .union([z.string(), z.object({ key: z.string(), value: z.string().optional(), effect: z.string() })])
  .transform((value, context): Taint => {
    const { key, value: own, effect: named } = typeof value === "string" ? splitTaint(value) : value;
    const effect = EFFECTS.get((named ?? "").toLowerCase());
    if (key === "" || effect === undefined) {
      context.addIssue({ code: "custom", message: `${JSON.stringify(value)} is no taint; expected key=value:Effect` });
      return z.NEVER;
    }
    return { key: labelOf(key), effect, ...(own === undefined ? {} : { value: own }) };
  });

function splitTaint(whole: string): { key: string; value?: string; effect?: string } {
  const colon = whole.lastIndexOf(":");
  const [left, effect] = colon < 0 ? [whole, undefined] : [whole.slice(0, colon), whole.slice(colon + 1)];
  const equals = left.indexOf("=");
  return {
    key: equals < 0 ? left : left.slice(0, equals),
    ...(equals < 0 ? {} : { value: left.slice(equals + 1) }),
    ...(effect === undefined || effect === "" ? {} : { effect }),
  };
}

/**
 * `k=v:Effect`, `k=v` (any effect), `k:Effect` and `k` (any value), `*` (everything), `[key, op, value?, effect?]`,
 * or the object Kubernetes writes; its `operator` may be called `op`.
 */
export const toleration = z
  .union([
    z.string(),
    z.array(z.string()).min(2).max(4),
    z.strictObject({
      key: z.string().optional(),
      operator: z.string().optional(),
      op: z.string().optional(),
      value: text.optional(),
      effect: z.string().optional(),
      tolerationSeconds: z.number().optional(),
    }),
  ])
  .transform((value, context): Toleration => {
    const read = typeof value === "string" ? ofText(value) : Array.isArray(value) ? ofList(value) : value;
    const effect = read.effect === undefined || read.effect === "" ? undefined : EFFECTS.get(read.effect.toLowerCase());
    if (read.effect && effect === undefined) context.addIssue({ code: "custom", message: `${JSON.stringify(read.effect)} is no effect` });
    const operator = read.operator ?? read.op;
    return {
      ...(read.key ? { key: labelOf(read.key) } : {}),
      ...(operator === undefined ? {} : { operator }),
      ...(read.value === undefined ? {} : { value: read.value }),
      ...(effect === undefined ? {} : { effect }),
    };
  });

interface LooseToleration {
  readonly key?: string | undefined;
  readonly operator?: string | undefined;
  readonly op?: string | undefined;
  readonly value?: string | undefined;
  readonly effect?: string | undefined;
}

function ofText(whole: string): LooseToleration {
  if (whole === "*" || whole === "") return { operator: "Exists" };
  if (/\s/.test(whole)) return ofList(whole.trim().split(/\s+/));
  const { key, value, effect } = splitTaint(whole);
  if (effect?.toLowerCase() === "exists") return { key, operator: "Exists" };
  return { key, effect, ...(value === undefined || value === "*" ? { operator: "Exists" } : { operator: "Equal", value }) };
}

function ofList([key, operator = "", third, fourth]: readonly string[]): LooseToleration {
  if (operator.toLowerCase() === "exists") return { key, operator: "Exists", effect: third ?? fourth };
  return { key, operator: "Equal", value: third, effect: fourth };
}

/** Labels of pods: as they are written. */
export const labels = z.record(z.string(), text);
/** Labels of nodes, machines and pools: the short keys stand for the real ones. */
export const nodeLabels = labels.transform(labelsOfShort);

/** `{label: value}`, a list of requirements, or a metav1.LabelSelector. */
export const selector = z.union([
  z
    .object({ matchLabels: labels.optional(), matchExpressions: z.array(requirement).optional() })
    .strict()
    .refine((value) => value.matchLabels !== undefined || value.matchExpressions !== undefined)
    .transform(
      (value): LabelSelector => ({
        ...(value.matchLabels ? { matchLabels: value.matchLabels } : {}),
        ...(value.matchExpressions ? { matchExpressions: value.matchExpressions } : {}),
      }),
    ),
  labels.transform((matchLabels): LabelSelector => ({ matchLabels })),
  requirements.transform((matchExpressions): LabelSelector => ({ matchExpressions })),
]);

const key = z.string().min(1).transform(labelOf);
const policy = z.enum(["Honor", "Ignore"]);

/** `{key, skew, when, match, minDomains, matchLabelKeys, nodeAffinityPolicy, nodeTaintsPolicy}` */
export const spread = z.strictObject({
  key,
  skew: z.int().min(1).default(1),
  when: z.enum(["DoNotSchedule", "ScheduleAnyway"]).default("DoNotSchedule"),
  match: selector.optional(),
  minDomains: z.int().min(1).optional(),
  matchLabelKeys: z.array(z.string()).optional(),
  nodeAffinityPolicy: policy.optional(),
  nodeTaintsPolicy: policy.optional(),
});

const names = z.union([z.string().transform((one) => [one]), z.array(z.string())]);
/** `{key, match, ns, namespaceSelector, matchLabelKeys, mismatchLabelKeys}`; `namespaceSelector: {}` is all namespaces. */
export const affinity = z.strictObject({
  key,
  match: selector.optional(),
  ns: names.optional(),
  namespaces: names.optional(),
  namespaceSelector: selector.optional(),
  matchLabelKeys: z.array(z.string()).optional(),
  mismatchLabelKeys: z.array(z.string()).optional(),
});
export const preferredAffinity = z
  .union([z.tuple([weight, affinity]), affinity.transform((one) => [100, one] as const)])
  .transform(([heft, wanted]) => ({ weight: heft, term: wanted }));

/** `8080`, `127.0.0.1:8080/UDP`, `[8080, "127.0.0.1", "UDP"]`, or `{port, ip, protocol}`. */
export const hostPort = z
  .union([
    z.int(),
    z.string(),
    z.tuple([z.int(), z.string().regex(/[.:]/)], z.string()).transform(([port, ip, protocol = "TCP"]) => ({ port, ip, protocol })),
    z
      .strictObject({
        port: z.int(),
        ip: z.string().optional(),
        hostIP: z.string().optional(),
        protocol: z.string().optional(),
        proto: z.string().optional(),
      })
      .transform(({ port, ip, hostIP, protocol, proto }) => ({ port, ip: ip ?? hostIP ?? "", protocol: protocol ?? proto ?? "TCP" })),
  ])
  .transform((value, context) => {
    const read = typeof value === "object" ? value : portOf(String(value));
    if (read && read.port >= 1 && read.port <= 65_535) return { ...read, protocol: read.protocol.toUpperCase() };
    context.addIssue({ code: "custom", message: `${JSON.stringify(value)} is no port; expected 8080, 10.0.0.1:8080 or 53/UDP` });
    return z.NEVER;
  });

function portOf(whole: string) {
  const match = /^(?:(.*):)?([0-9]+)(?:\/(tcp|udp|sctp))?$/i.exec(whole);
  return match ? { ip: match[1] ?? "", port: Number(match[2]), protocol: match[3] ?? "TCP" } : undefined;
}

export const devices = z.record(z.string(), count);

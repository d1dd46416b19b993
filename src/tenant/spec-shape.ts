import { z } from "zod";
import { parseDuration } from "../core/duration.ts";
import { parseQuantity, quantity } from "../core/quantity.ts";
import { parseSchedule } from "../core/schedule.ts";
import { readTimeZone } from "../core/time-zone.ts";
import type { VirtualClusterSpec } from "../core/virtual-clusters.ts";

const MINUTE = 60_000;
/** A hundred years: what ends later ends never, and a Date still holds it. */
const LONGEST = 100 * 366 * 24 * 60 * MINUTE;

const duration = z.string().superRefine((text, { addIssue }) => {
  const ms = parseDuration(text);
  if (ms === undefined || !Number.isFinite(ms)) addIssue(`expected a duration such as 30m or 8h, got ${JSON.stringify(text)}`);
  else if (ms < MINUTE) addIssue(`expected at least 1m, got ${text}`);
  else if (ms > LONGEST) addIssue(`expected at most 100 years, got ${text}`);
});

const cron = z
  .string()
  .refine((text) => parseSchedule(text) !== undefined, {
    error: ({ input }) => `expected five fields of cron, got ${JSON.stringify(input)}`,
  })
  .refine((text) => parseSchedule(text)?.next(0) !== undefined, { error: ({ input }) => `${JSON.stringify(input)} is never due` });

/** An amount of at least so much. */
function amount(least: string) {
  return z.union([z.string(), z.number()], { error: "expected a quantity" }).superRefine((value, { addIssue }) => {
    const parsed = parseQuantity(value);
    if (parsed === undefined) addIssue(`expected a quantity, got ${JSON.stringify(value)}`);
    else if (parsed < quantity(least)) addIssue(`expected at least ${least}, got ${value}`);
  });
}

const moment = z.string().refine((text) => /^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text)), {
  error: ({ input }) => `expected a moment such as 2026-03-01T18:00:00Z, got ${JSON.stringify(input)}`,
});

const parameter = z.union([z.string(), z.number(), z.boolean()], { error: "expected a text, a number or a truth value" });

const sleep = z.strictObject({
  state: z.enum(["Auto", "Awake", "Asleep"]).optional(),
  awakeUntil: moment.optional(),
  afterIdle: duration.optional(),
  stopAfter: duration.optional(),
  schedule: z
    .array(z.strictObject({ sleep: cron, wake: cron }))
    .max(16)
    .optional(),
  timeZone: z
    .string()
    .refine((name) => readTimeZone(name) !== undefined, {
      error: ({ input }) => `expected a time zone such as Europe/Berlin, got ${JSON.stringify(input)}`,
    })
    .optional(),
  nodes: z.enum(["release", "keep"]).optional(),
  paused: z.boolean().optional(),
});

/**
 * The whole spec of a VirtualCluster, as the schema of its definition has it and further: what comes from a template has
 * never been seen by an apiserver.
 */
const shape = z.strictObject({
  version: z.string().max(32).optional(),
  nodeMode: z.literal("private").optional(),
  podCIDR: z.string().optional(),
  serviceCIDR: z.string().optional(),
  sleep: sleep.optional(),
  ttl: duration.optional(),
  datastore: z.strictObject({ kind: z.enum(["shared", "dedicated"]).optional(), quota: amount("16Mi").optional() }).optional(),
  resources: z
    .strictObject({ cpu: amount("100m").optional(), memory: amount("256Mi").optional(), pids: z.int().min(64).max(4_194_304).optional() })
    .optional(),
  pki: z
    .strictObject({
      authorities: z.int().min(1).optional(),
      serviceAccountKeys: z.int().min(1).optional(),
      // how short it may be is asked where keys are changed
      overlap: z.string().max(18).optional(),
      authoritySecret: z.string().min(1).max(253).optional(),
    })
    .optional(),
  templateRef: z
    .strictObject({
      name: z.string().min(1),
      parameters: z.record(z.string(), parameter).optional(),
      generation: z.int().min(1).optional(),
    })
    .optional(),
});

/** What is wrong with a spec, each with the field's path; empty when nothing is. */
export function shapeProblems(spec: unknown): string[] {
  const { error } = shape.safeParse(spec);
  return (error?.issues ?? []).map(({ path, message }) => `${fieldOf(["spec", ...path])}: ${message}`);
}

/** A spec that {@link shapeProblems} found nothing wrong with. */
export function isShaped(spec: unknown): spec is VirtualClusterSpec {
  return shape.safeParse(spec).success;
}

/** `spec.sleep.schedule[0].wake` */
function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text ? `${text}.${String(part)}` : String(part)),
    "",
  );
}

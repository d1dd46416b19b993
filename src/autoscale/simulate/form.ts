import { z } from "zod";
import { amount, count, gibibytes, moment, seconds } from "./amounts.ts";
import {
  affinity,
  devices,
  hostPort,
  labels,
  nodeLabels,
  preference,
  preferredAffinity,
  requirements,
  selector,
  spread,
  taint,
  terms,
  toleration,
} from "./terms.ts";

/** The scenario form, thing by thing. docs/reference/scenario.md says each key; keep both together. */

const name = z.string().min(1).max(253);
const names = z.union([name.transform((one) => [one]), z.array(name)]);
const flag = z.boolean();
const place = {
  zone: z.string().optional(),
  site: z.string().optional(),
  region: z.string().optional(),
  block: z.string().optional(),
  rack: z.string().optional(),
  leaf: z.string().optional(),
  nvl: z.string().optional(),
};
const resources = z.record(z.string(), amount);

/** What one server of a type has to give, before daemons. */
export const type = z.strictObject({
  cpu: amount.default(0n),
  mem: gibibytes.default(0n),
  gpu: amount.optional(),
  pods: z.int().min(0).default(110),
  res: resources.optional(),
  resources: resources.optional(),
  devices: devices.optional(),
  dra: devices.optional(),
  labels: nodeLabels.default({}),
  zones: z.array(z.string()).optional(),
  cost: z.number().min(0).default(1),
});

const HOST_STATES = [
  "free",
  "available",
  "wiping",
  "releasing",
  "leaving",
  "draining",
  "reclaiming",
  "installing",
  "inspecting",
  "discovered",
  "joining",
  "inuse",
  "in-use",
  "claimed",
  "reserved",
  "quarantined",
  "maintenance",
  "failed",
  "unreachable",
  "off",
] as const;
const hostState = z
  .string()
  .transform((value) => value.toLowerCase())
  .pipe(z.enum(HOST_STATES));

/** `n` identical servers. */
export const host = z.strictObject({
  type: name,
  n: count.default(1),
  id: name.optional(),
  name: name.optional(),
  ...place,
  labels: nodeLabels.default({}),
  state: hostState.optional(),
  phase: hostState.optional(),
  readyInS: seconds.optional(),
  image: z.string().optional(),
  lastTenant: z.string().optional(),
  wiped: flag.optional(),
  fails: z.int().min(0).optional(),
  lastFailS: seconds.optional(),
  cost: z.number().min(0).optional(),
  tenant: z.string().optional(),
});

/** `20%`, a number, or `{nodes, reasons, schedule, duration}`. */
const budget = z.union([
  z.union([z.string(), z.number()]).transform((nodes) => ({ nodes: String(nodes) })),
  z.strictObject({
    nodes: z.union([z.string(), z.number()]).transform(String).default("100%"),
    reasons: z.array(z.string()).optional(),
    schedule: z.string().optional(),
    duration: z.union([z.string(), z.number().transform((value) => `${value}s`)]).optional(),
  }),
]);
const budgets = z.union([z.array(budget), budget.transform((one) => [one])]);

const consolidationPolicy = z.enum(["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]);
const plainPods = z.union([z.enum(["allow", "never", "deny"]), flag.transform((yes) => (yes ? "allow" : "never"))]);
const preferences = z.enum(["respect", "rank", "ignore", "ignore-for-new-hosts"]);

/** How a pool's nodes may be disturbed; `policy` may say the same for all pools. */
const disruption = {
  budgets: budgets.optional(),
  consolidateAfterS: seconds.optional(),
  consolidationPolicy: consolidationPolicy.optional(),
  expireAfterS: seconds.optional(),
  terminationGracePeriodS: seconds.optional(),
};

export const pool = z.strictObject({
  name,
  weight: z.int().min(0).max(100).default(0),
  req: requirements.default([]),
  labels: nodeLabels.default({}),
  taints: z.array(taint).default([]),
  startupTaints: z.array(taint).default([]),
  limits: z.record(z.string(), z.union([z.number(), z.string()])).default({}),
  ready: flag.default(true),
  tenant: names.optional(),
  tenants: z.array(name).optional(),
  types: z.array(name).optional(),
  replicas: count.optional(),
  cpuOnGpuHosts: plainPods.optional(),
  image: z.string().optional(),
  ...disruption,
});

const oneVolume = z.union([
  z.strictObject({ name: z.string().optional(), zone: names.optional(), req: terms.optional() }),
  terms.transform((req) => ({ req })),
]);

const pdb = z.union([
  z.literal("blocked").transform(() => ({ allowed: 0 })),
  z
    .int()
    .min(0)
    .transform((allowed) => ({ allowed })),
  z.strictObject({ name: z.string().optional(), allowed: z.int().min(0).default(0) }),
]);

const container = z.strictObject({
  cpu: amount.optional(),
  mem: gibibytes.optional(),
  gpu: amount.optional(),
  res: resources.optional(),
});

export const pod = z.strictObject({
  id: name.optional(),
  n: count.default(1),
  ns: z.string().default("default"),
  cpu: amount.optional(),
  mem: gibibytes.optional(),
  gpu: amount.optional(),
  res: resources.optional(),
  resources: resources.optional(),
  devices: devices.optional(),
  dra: devices.optional(),
  initCpu: amount.optional(),
  initMem: gibibytes.optional(),
  initGpu: amount.optional(),
  init: z.union([z.array(container), container.transform((one) => [one])]).optional(),
  sidecarCpu: amount.optional(),
  sidecarMem: gibibytes.optional(),
  sidecars: z.array(container).optional(),
  overhead: container.optional(),
  overheadCpu: amount.optional(),
  overheadMem: gibibytes.optional(),
  sel: nodeLabels.optional(),
  req: terms.optional(),
  pref: z.array(preference).optional(),
  tol: z.array(toleration).optional(),
  labels: labels.default({}),
  spread: z.array(spread).optional(),
  anti: z.array(affinity).optional(),
  aff: z.array(affinity).optional(),
  prefAnti: z.array(preferredAffinity).optional(),
  prefAff: z.array(preferredAffinity).optional(),
  prio: z.int().optional(),
  tenant: z.string().optional(),
  annotations: labels.default({}),
  on: z.string().optional(),
  hostPort: z.union([hostPort.transform((one) => [one]), z.array(hostPort)]).optional(),
  hostPorts: z.array(hostPort).optional(),
  gates: z.array(z.string()).optional(),
  volumes: z.array(oneVolume).optional(),
  pvc: z.union([oneVolume.transform((one) => [one]), z.array(oneVolume)]).optional(),
  volumeZone: names.optional(),
  pdb: z.union([pdb.transform((one) => [one]), z.array(pdb)]).optional(),
  phase: z.string().optional(),
  ageS: seconds.optional(),
  waitS: seconds.optional(),
  maxRuntimeS: seconds.optional(),
  graceS: seconds.optional(),
  deletionCost: z.number().optional(),
  gang: z.string().optional(),
  daemon: flag.optional(),
  owned: flag.optional(),
});

const NODE_PHASES = [
  "pending",
  "launching",
  "launched",
  "installing",
  "joining",
  "registered",
  "initialized",
  "initialised",
  "ready",
  "awaitinghost",
  "inuse",
  "releasing",
  "wiping",
  "deleting",
  "draining",
  "failed",
] as const;

export const node = z.strictObject({
  name,
  n: count.default(1),
  type: name,
  pool: name.nullable().optional(),
  host: z.string().optional(),
  ...place,
  init: flag.optional(),
  labels: nodeLabels.default({}),
  taints: z.array(taint).default([]),
  startupTaints: z.array(taint).optional(),
  annotations: labels.default({}),
  pods: z.array(pod).default([]),
  claimOnly: flag.default(false),
  phase: z
    .string()
    .transform((value) => value.toLowerCase())
    .pipe(z.enum(NODE_PHASES))
    .optional(),
  state: z
    .string()
    .transform((value) => value.toLowerCase())
    .pipe(z.enum(NODE_PHASES))
    .optional(),
  deleting: flag.default(false),
  readyInS: seconds.optional(),
  ageS: seconds.default(3_600),
  empty_s: seconds.optional(),
  emptyS: seconds.optional(),
  quietS: seconds.optional(),
  tenant: z.string().optional(),
  drifted: z.union([flag, seconds]).default(false),
  expireAfterS: seconds.optional(),
  terminationGracePeriodS: seconds.optional(),
  image: z.string().optional(),
  cost: z.number().min(0).optional(),
  failed: flag.optional(),
});

const level = z.string().min(1);

export const gang = z.strictObject({
  id: name,
  tenant: z.string().optional(),
  min: z.int().min(1),
  size: count.optional(),
  pod,
  topo: z
    .strictObject({
      required: level.optional(),
      preferred: level.optional(),
      slice: z.strictObject({ size: z.int().min(1), level }).optional(),
    })
    .optional(),
  prio: z.int().optional(),
  maxRuntimeS: seconds.optional(),
  waitS: seconds.optional(),
  /** Members that run already, by the node they are on. */
  on: names.optional(),
  place: names.optional(),
});

export const tenant = z.strictObject({
  name,
  nominal: z.number().min(0).optional(),
  borrow: z.number().min(0).optional(),
  lend: z.number().min(0).optional(),
  weight: z.number().min(0).default(1),
  unit: z.string().default("hosts"),
  minRuntimeS: seconds.optional(),
});

/** Servers kept for a tenant from a moment to another, on the clock of `now`. */
export const window = z
  .strictObject({
    id: z.string().optional(),
    name: z.string().optional(),
    tenant: z.string(),
    type: name.optional(),
    hosts: z.union([count, z.array(name)]).optional(),
    n: count.optional(),
    count: count.optional(),
    fromS: seconds.optional(),
    from: seconds.optional(),
    startS: seconds.optional(),
    start: seconds.optional(),
    toS: seconds.optional(),
    to: seconds.optional(),
    untilS: seconds.optional(),
    endS: seconds.optional(),
    end: seconds.optional(),
    durationS: seconds.optional(),
  })
  .transform((value) => {
    const from = value.fromS ?? value.from ?? value.startS ?? value.start ?? 0;
    const to = value.toS ?? value.to ?? value.untilS ?? value.endS ?? value.end;
    const hosts = value.hosts ?? value.n ?? value.count ?? 1;
    return {
      name: value.id ?? value.name,
      tenant: value.tenant,
      type: value.type,
      hosts,
      fromS: from,
      toS: to ?? (value.durationS === undefined ? Number.POSITIVE_INFINITY : from + value.durationS),
    };
  })
  .refine((value) => value.toS > value.fromS, { message: "ends before it begins" });

/** A PodDisruptionBudget over the pods that run. */
export const disruptionBudget = z.strictObject({
  name: z.string().optional(),
  match: selector,
  ns: z.string().default("default"),
  tenant: z.string().optional(),
  allowed: z.int().min(0).optional(),
  minAvailable: z.union([z.int().min(0), z.string()]).optional(),
  maxUnavailable: z.union([z.int().min(0), z.string()]).optional(),
});

const warm = z.union([z.record(z.string(), count), count.transform((each) => ({ "*": each }))]);

export const policy = z.strictObject({
  preferences: preferences.default("respect"),
  cpuOnGpuHosts: plainPods.default("never"),
  waitForWipeS: seconds.optional(),
  waitS: seconds.optional(),
  wipeS: seconds.optional(),
  installS: seconds.optional(),
  drainS: seconds.optional(),
  turnaroundS: seconds.optional(),
  image: z.string().optional(),
  minRuntimeS: seconds.optional(),
  expendableBelow: z.int().optional(),
  warm: warm.optional(),
  warmFloor: warm.optional(),
  minValues: z.enum(["strict", "besteffort", "Strict", "BestEffort"]).optional(),
  workBudget: z.int().min(1).optional(),
  hysteresisS: seconds.optional(),
  ...disruption,
});

export const now = moment;
export const disrupt = flag;

export type Type = z.output<typeof type>;
export type Host = z.output<typeof host>;
export type Pool = z.output<typeof pool>;
export type Pod = z.output<typeof pod>;
export type Node = z.output<typeof node>;
export type Gang = z.output<typeof gang>;
export type Tenant = z.output<typeof tenant>;
export type Window = z.output<typeof window>;
export type DisruptionBudget = z.output<typeof disruptionBudget>;
export type Policy = z.output<typeof policy>;

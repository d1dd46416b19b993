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

/** One of some words, whatever its case. */
function lowered<T extends z.ZodType<unknown, string>>(words: T) {
  return z
    .string()
    .transform((value) => value.toLowerCase())
    .pipe(words);
}

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

/** What is being done stands for the phase, as `install` for `installing`; and Karpenter's word for ours. */
const STEMS: Readonly<Record<string, string>> = {
  launch: "launching",
  install: "installing",
  inspect: "inspecting",
  join: "joining",
  register: "joining",
  registering: "joining",
  registration: "joining",
  release: "releasing",
  wipe: "wiping",
  delete: "deleting",
  terminating: "deleting",
  drain: "draining",
  fail: "failed",
  quarantine: "quarantined",
};

function phaseWord(said: string): string {
  const word = said.toLowerCase();
  return STEMS[word] ?? word;
}

const HOST_STATES = [
  "free",
  "available",
  "dirty",
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
const hostState = z.string().transform(phaseWord).pipe(z.enum(HOST_STATES));

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

const length = z.union([z.string(), z.number().transform((value) => `${value}s`)]);

/** `20%`, a number, or `{nodes, reasons, schedule, duration}`. */
const budget = z.union([
  z.union([z.string(), z.number()]).transform((nodes) => ({ nodes: String(nodes) })),
  z.strictObject({
    nodes: z.union([z.string(), z.number()]).transform(String).default("100%"),
    reasons: z.array(z.string()).optional(),
    schedule: z.string().optional(),
    duration: length.optional(),
    durationS: length.optional(),
  }),
]);
const budgets = z.union([z.array(budget), budget.transform((one) => [one])]);

const consolidationPolicy = z.enum(["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]);
const plainPods = z.union([z.enum(["allow", "never", "deny"]), flag.transform((yes) => (yes ? "allow" : "never"))]);
const preferences = lowered(z.enum(["respect", "rank", "ignore", "ignore-for-new-hosts"]));

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
  z.enum(["blocked", "allowed"]).transform((word) => ({ allowed: word === "blocked" ? 0 : 1 })),
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
  tol: z.union([z.array(toleration), toleration.transform((one) => [one])]).optional(),
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

const phase = z.string().transform(phaseWord).pipe(z.enum(NODE_PHASES));

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
  phase: phase.optional(),
  state: phase.optional(),
  deleting: flag.default(false),
  phaseS: seconds.optional(),
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
/** Nodes, as often as they have a member: a list, `{node: members}` or `{member: node}`. */
const members = z.union([
  names,
  z.record(name, count).transform((each) => Object.entries(each).flatMap(([node, many]) => Array.from({ length: many }, () => node))),
  z.record(z.string(), name).transform((each) => Object.values(each)),
]);

export const gang = z.strictObject({
  id: name,
  tenant: z.string().optional(),
  min: z.int().min(1),
  size: count.optional(),
  pod,
  topo: z
    .union([
      z.strictObject({
        required: level.optional(),
        preferred: level.optional(),
        slice: z.strictObject({ size: z.int().min(1), level }).optional(),
      }),
      level.transform((required) => ({ required, preferred: undefined, slice: undefined })),
    ])
    .optional(),
  prio: z.int().optional(),
  maxRuntimeS: seconds.optional(),
  waitS: seconds.optional(),
  /** Members that run already, by the node they are on. */
  on: members.optional(),
  place: members.optional(),
});

export const tenant = z.strictObject({
  name,
  nominal: z.number().min(0).optional(),
  borrow: z.number().min(0).optional(),
  lend: z.number().min(0).optional(),
  weight: z.number().min(0).default(1),
  unit: z.string().default("hosts"),
  cohort: z.string().optional(),
  minRuntimeS: seconds.optional(),
});

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

const floor = z.union([
  count.transform((n): { n: number; prio?: number } => ({ n })),
  z.strictObject({ n: count, prio: z.int().optional() }),
]);
const warm = z.union([z.record(z.string(), floor), floor.transform((each) => ({ "*": each }))]);

/** How long a node may be in a phase, by phase; a bare number holds for each. */
const timeouts = z.union([
  z.record(z.string(), seconds).transform((each) => new Map(Object.entries(each).map(([word, limit]) => [phaseWord(word), limit]))),
  seconds.transform((limit) => new Map([["*", limit]])),
]);

const minValues = lowered(z.enum(["strict", "besteffort"]));

export const policy = z.strictObject({
  preferences: preferences.default("respect"),
  preferencePolicy: preferences.optional(),
  phaseTimeoutS: timeouts.optional(),
  timeouts: timeouts.optional(),
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
  minValues: minValues.optional(),
  minValuesPolicy: minValues.optional(),
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
export type DisruptionBudget = z.output<typeof disruptionBudget>;
export type Policy = z.output<typeof policy>;

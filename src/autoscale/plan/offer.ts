import { LABEL_INSTANCE_TYPE, LABEL_NODEPOOL } from "../../core/names.ts";
import { ONE, type Resources, subtract, sum } from "../../core/quantity.ts";
import {
  conflict,
  contradiction,
  FIELD_NAME,
  intersect,
  type Requirements,
  requirementsOf,
  requirementsOfLabels,
} from "../../core/requirements.ts";
import type { RootDevice, Taint } from "../../core/resources.ts";
import { acceleratorsIn } from "./kinds.ts";
import { blockingTaint } from "./taints.ts";
import type { ClassWorld, Daemon, MachineSupply, PodNeeds, PoolWorld } from "./world.ts";

/** What a machine would be as a node of a pool: before any pod, after its daemons. */
export interface Offer {
  readonly machine: MachineSupply;
  readonly pool: PoolWorld;
  readonly offered: Requirements;
  readonly daemons: Resources;
  readonly free: Resources;
  readonly accelerators: bigint;
}

/** Keys that are facts of a machine: a pool may ask for them, it cannot make them true. */
const FACTS: ReadonlySet<string> = new Set([
  "kubernetes.io/arch",
  "kubernetes.io/os",
  "kubernetes.io/hostname",
  "karpenter.sh/capacity-type",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
]);

function isFact(key: string): boolean {
  return FACTS.has(key) || key.startsWith("topology.ironwright.dev/") || key.startsWith("ironwright.dev/");
}

export function selects(one: ClassWorld, machine: MachineSupply): boolean {
  return Object.entries(one.selector).every(([key, value]) => machine.labels[key] === value);
}

/** The offer of a machine its class selects, or why it can never be one. */
export function offerOf(pool: PoolWorld, machine: MachineSupply, daemons: readonly Daemon[]): Offer | string {
  const lacking = classProblem(pool.machineClass, machine);
  if (lacking !== undefined) return lacking;
  const wanted = requirementsOf(pool.requirements);
  const own = requirementsOfLabels({
    ...machine.nodeLabels,
    ...pool.labels,
    [LABEL_NODEPOOL]: pool.name,
    [LABEL_INSTANCE_TYPE]: pool.machineClass.name,
    [FIELD_NAME]: machine.name,
  });
  const missing = poolConflict(own, requirementsOfLabels(machine.labels), wanted);
  if (missing !== undefined) return `not what the pool wants of ${missing}`;
  // the labels that only operators see decided above; a node carries what pods may see
  const visible = new Map([...wanted].filter(([key]) => own.has(key) || (!isFact(key) && machine.labels[key] === undefined)));
  const offered = intersect(own, visible);
  const overhead = daemonsOn(daemons, offered, pool.taints);
  return {
    machine,
    pool,
    offered,
    daemons: overhead,
    free: subtract(machine.allocatable, overhead),
    accelerators: acceleratorsIn(machine.allocatable),
  };
}

/** A label the machine does not have is the pool's to give, unless it is a fact. */
function poolConflict(own: Requirements, operators: Requirements, wanted: Requirements): string | undefined {
  const known = intersect(operators, own);
  if (contradiction(known) !== undefined) return contradiction(known);
  const judged = new Map([...wanted].filter(([key]) => known.has(key) || isFact(key)));
  return conflict(known, judged);
}

function classProblem(one: ClassWorld, machine: MachineSupply): string | undefined {
  if (one.gpus) {
    const { count, id } = one.gpus;
    const have = id === undefined ? machine.gpus.length : machine.gpus.filter((gpu) => gpu === id).length;
    if (have < count) return `has ${have} of the ${count} GPUs its class wants`;
  }
  const root = one.rootDevice ?? {};
  const least = Math.max((root.minSizeGiB ?? 0) * 2 ** 30, one.image?.sizeBytes ?? 0);
  if (!machine.disks.some((disk) => disk.sizeBytes >= least && matchesRoot(root, disk))) return "no disk its class could use";
  return undefined;
}

function matchesRoot(root: RootDevice, disk: MachineSupply["disks"][number]): boolean {
  return (["serial", "wwn", "model", "name"] as const).every((field) => root[field] === undefined || root[field] === disk[field]);
}

/** What the daemons that belong on a node take of it. */
export function daemonsOn(
  daemons: readonly Daemon[],
  offered: Requirements,
  taints: readonly Taint[],
  running: readonly string[] = [],
): Resources {
  const due = daemons.filter((one) => !running.includes(one.name) && isAllowed(one.needs, offered, taints));
  return sum(due.map((one) => one.needs.requests));
}

function isAllowed(needs: PodNeeds, offered: Requirements, taints: readonly Taint[]): boolean {
  if (blockingTaint(taints, needs.tolerations)) return false;
  return needs.terms.some((term) => conflict(offered, requirementsOf(term)) === undefined);
}

/** What a claim of this machine would add to its pool, as limits count it. */
export function charge(capacity: Resources): Resources {
  return new Map([...capacity, ["nodes", ONE]]);
}

/** The first limit that would be exceeded, for people. */
export function overLimit(limits: Resources, used: Resources, more: Resources): string | undefined {
  for (const [name, limit] of limits) {
    if ((used.get(name) ?? 0n) + (more.get(name) ?? 0n) > limit) return name;
  }
  return undefined;
}

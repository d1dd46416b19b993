import { parseDuration } from "../../core/duration.ts";
import { LABEL_NODEPOOL, LABEL_TENANT, parseTenant, type TenantRef } from "../../core/names.ts";
import { parseQuantity, parseResources } from "../../core/quantity.ts";
import { requirementProblem } from "../../core/requirements.ts";
import { MACHINE_CLASS, type MachineClass, type NodePool, type OSImage, type VirtualCluster } from "../../core/resources.ts";
import { budgetProblem, type PoolWorld } from "../plan/index.ts";
import { poolDisruption } from "./disruption.ts";

/** On a NodePool: `allow` lets pods that ask for no accelerator claim machines that have some. */
export const ANNOTATION_PLAIN_PODS = "ironwright.dev/plain-pods-on-gpu-machines";

/** What a pool's names must be looked up in. */
export interface PoolSurroundings {
  machineClass(name: string): MachineClass | undefined;
  image(name: string): OSImage | undefined;
  cluster(ref: TenantRef): VirtualCluster | undefined;
}

export interface PoolVerdict {
  readonly tenant?: TenantRef;
  /** `field: what is wrong`, in the order of the fields. */
  readonly problems: readonly string[];
  /** Why the class cannot be used, apart from the pool's own faults. */
  readonly classProblem?: string;
}

/** What is wrong with a pool, field by field. The schema has caught the rest. */
export function judgePool(pool: NodePool, around: PoolSurroundings): PoolVerdict {
  const label = pool.metadata.labels?.[LABEL_TENANT];
  const tenant = label === undefined ? undefined : parseTenant(label);
  const classProblem = problemOfClass(pool, around);
  return {
    ...(tenant ? { tenant } : {}),
    problems: [
      ...tenantProblems(label, tenant, around),
      ...classRefProblems(pool),
      ...templateProblems(pool),
      ...disruptionProblems(pool),
      ...limitProblems(pool),
    ],
    ...(classProblem === undefined ? {} : { classProblem }),
  };
}

function tenantProblems(label: string | undefined, tenant: TenantRef | undefined, around: PoolSurroundings): string[] {
  const field = `metadata.labels[${LABEL_TENANT}]`;
  if (label === undefined) return [`${field}: missing; expected NAMESPACE.NAME of a VirtualCluster`];
  if (!tenant) return [`${field}: ${JSON.stringify(label)} is not NAMESPACE.NAME of a VirtualCluster`];
  return around.cluster(tenant) ? [] : [`${field}: there is no VirtualCluster ${tenant.name} in namespace ${tenant.namespace}`];
}

function classRefProblems(pool: NodePool): string[] {
  const { group, kind } = pool.spec.template.spec.nodeClassRef;
  const field = "spec.template.spec.nodeClassRef";
  return [
    ...(group === MACHINE_CLASS.group ? [] : [`${field}.group: ${JSON.stringify(group)}; expected ${MACHINE_CLASS.group}`]),
    ...(kind === MACHINE_CLASS.kind ? [] : [`${field}.kind: ${JSON.stringify(kind)}; expected ${MACHINE_CLASS.kind}`]),
  ];
}

function problemOfClass(pool: NodePool, around: PoolSurroundings): string | undefined {
  const { name } = pool.spec.template.spec.nodeClassRef;
  const machineClass = around.machineClass(name);
  if (!machineClass) return `spec.template.spec.nodeClassRef.name: there is no MachineClass ${name}`;
  const { image } = machineClass.spec;
  return around.image(image) ? undefined : `MachineClass ${name}, spec.image: there is no OSImage ${image}`;
}

function templateProblems(pool: NodePool): string[] {
  const { expireAfter, terminationGracePeriod, requirements = [] } = pool.spec.template.spec;
  return [
    ...durationProblem("spec.template.spec.expireAfter", expireAfter, true),
    ...durationProblem("spec.template.spec.terminationGracePeriod", terminationGracePeriod, false),
    ...requirements.flatMap((one, n) => {
      const problem = one.key === LABEL_NODEPOOL ? "is the pool's own name" : requirementProblem(one);
      return problem === undefined ? [] : [`spec.template.spec.requirements[${n}] (${one.key}): ${problem}`];
    }),
  ];
}

function disruptionProblems(pool: NodePool): string[] {
  const { consolidateAfter } = pool.spec.disruption ?? {};
  return [
    ...durationProblem("spec.disruption.consolidateAfter", consolidateAfter, true),
    ...poolDisruption(pool).budgets.flatMap((budget, n) => {
      const problem = budgetProblem(budget);
      return problem === undefined ? [] : [`spec.disruption.budgets[${n}].${problem}`];
    }),
  ];
}

function limitProblems(pool: NodePool): string[] {
  return Object.entries(pool.spec.limits ?? {}).flatMap(([name, limit]) =>
    parseQuantity(limit) === undefined ? [`spec.limits[${name}]: ${JSON.stringify(limit)} is not a quantity`] : [],
  );
}

function durationProblem(field: string, text: string | undefined, never: boolean): string[] {
  if (text === undefined) return [];
  const ms = parseDuration(text);
  if (ms === undefined || (!never && !Number.isFinite(ms)))
    return [`${field}: ${JSON.stringify(text)}; expected a duration such as 30s or 1h30m${never ? ", or Never" : ""}`];
  return [];
}

/** The pool as a plan sees it; one that is not right is there with its problem, and nothing is claimed from it. */
export function poolWorld(pool: NodePool, around: PoolSurroundings): PoolWorld {
  const { template, limits, weight = 0, replicas } = pool.spec;
  const verdict = judgePool(pool, around);
  const problem = pool.metadata.deletionTimestamp ? "is being deleted" : (verdict.problems[0] ?? verdict.classProblem);
  const machineClass = around.machineClass(template.spec.nodeClassRef.name);
  const image = machineClass && around.image(machineClass.spec.image);
  return {
    name: pool.metadata.name,
    weight,
    ...(problem === undefined ? {} : { problem }),
    machineClass: {
      name: template.spec.nodeClassRef.name,
      selector: machineClass?.spec.selector?.matchLabels ?? {},
      ...(machineClass?.spec.gpus ? { gpus: machineClass.spec.gpus } : {}),
      ...(machineClass?.spec.rootDevice ? { rootDevice: machineClass.spec.rootDevice } : {}),
      ...(image ? { image: { sha256: image.spec.sha256, sizeBytes: image.spec.sizeBytes } } : {}),
    },
    requirements: template.spec.requirements ?? [],
    labels: template.metadata?.labels ?? {},
    taints: template.spec.taints ?? [],
    startupTaints: template.spec.startupTaints ?? [],
    limits: parseResources(limits),
    ...(replicas === undefined ? {} : { replicas }),
    disruption: poolDisruption(pool),
    plainPodsOnAccelerators: pool.metadata.annotations?.[ANNOTATION_PLAIN_PODS] === "allow",
  };
}

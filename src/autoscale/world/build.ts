import { isTrue } from "../../core/conditions.ts";
import { ANNOTATION_MACHINE, LABEL_NODEPOOL, LABEL_TENANT, parseTenant, refOf, TAINT_DISRUPTED, tenantText } from "../../core/names.ts";
import { add, ONE, parseResources, type Resources, sum } from "../../core/quantity.ts";
import type { Machine, MachineClass, NodeClaim, NodePool, OSImage, Taint, VirtualCluster } from "../../core/resources.ts";
import type { DaemonSet, Namespace, Node, Pod, PodDisruptionBudget, ResourceQuota } from "../../kube/index.ts";
import type { MachineSupply, NodeSupply, PendingPod, TenantWorld, World } from "../plan/index.ts";
import { nodeDisruption } from "./disruption.ts";
import { machineSupply } from "./machines.ts";
import {
  daemonOf,
  hostPorts,
  isFinished,
  isOfDaemonSet,
  isUnschedulable,
  isWorkload,
  pendingPod,
  podRequests,
  runningPod,
} from "./pods.ts";
import { judgePool, type PoolSurroundings, poolWorld } from "./pools.ts";
import { projectsOf } from "./projects.ts";
import { NO_STORAGE, type Storage } from "./volumes.ts";

/** On a NodeClaim: when and as which of its plan it was made, so that plans fill claims in that order. */
export const ANNOTATION_ORDER = "ironwright.dev/plan-order";

/** On a NodeClaim: the claims it was made to replace, as `name/uid`; they go when all that replace them are initialised. */
export const ANNOTATION_REPLACES = "ironwright.dev/replaces";
/** On a NodeClaim that replaces others: how many do so together. */
export const ANNOTATION_REPLACEMENTS = "ironwright.dev/replacements";

/** What is known of the host control plane and of the tenants', at one moment. */
export interface Known {
  readonly machines: readonly Machine[];
  readonly claims: readonly NodeClaim[];
  readonly pools: readonly NodePool[];
  readonly classes: readonly MachineClass[];
  readonly images: readonly OSImage[];
  readonly clusters: readonly VirtualCluster[];
  readonly tenants: readonly KnownTenant[];
  /** Of projects. */
  readonly quotas?: readonly ResourceQuota[];
  readonly now: Date;
}

export interface KnownTenant {
  /** `namespace.name`. */
  readonly tenant: string;
  readonly pods: readonly Pod[];
  readonly nodes: readonly Node[];
  readonly daemonSets: readonly DaemonSet[];
  /** Absent: there is none. */
  readonly storage?: Storage;
  /** For namespace selectors; absent: none has labels of its own. */
  readonly namespaces?: readonly Namespace[];
  readonly budgets?: readonly PodDisruptionBudget[];
  /** When a pod last came to a node or left it, as far as anybody saw; never earlier than the watch began. */
  readonly lastPodEvents?: (node: string) => Date;
}

/** Looks names up in what is known. */
export function surroundings(known: Pick<Known, "classes" | "images" | "clusters">): PoolSurroundings {
  const byName = <T extends { metadata: { name: string } }>(list: readonly T[]) => new Map(list.map((one) => [one.metadata.name, one]));
  const classes = byName(known.classes);
  const images = byName(known.images);
  const clusters = new Map(known.clusters.map((one) => [tenantText(refOf(one)), one]));
  return {
    machineClass: (name) => classes.get(name),
    image: (name) => images.get(name),
    cluster: (ref) => clusters.get(tenantText(ref)),
  };
}

/** The world a plan is made for. */
export function worldOf(known: Known): World {
  const claimed = new Set(known.claims.map(machineOf).filter((name) => name !== undefined));
  const machines = known.machines.map((machine) => machineSupply(machine, claimed, known.now));
  const supply = new Map(machines.map((one) => [one.name, one]));
  const around = surroundings(known);
  const pools = Map.groupBy(known.pools, (pool) => tenantOf(pool, around));
  const claims = Map.groupBy(known.claims, (claim) => claim.metadata.labels?.[LABEL_TENANT]);
  const replaced = replacements(known.claims);
  const tenants = known.tenants.map((tenant): TenantWorld => {
    const mine = (claims.get(tenant.tenant) ?? []).flatMap((claim) => claimedNode(claim, replaced));
    return {
      ...tenantWorld(tenant, mine, supply, known.now),
      pools: (pools.get(tenant.tenant) ?? []).map((pool) => poolWorld(pool, around)),
      project: parseTenant(tenant.tenant)?.namespace ?? "",
    };
  });
  const present = new Set(known.tenants.map((one) => one.tenant));
  const projects = projectsOf(known.quotas ?? [], known.claims, present, (claim) => supply.get(machineOf(claim) ?? ""));
  return { now: known.now.getTime() / 1_000, machines, tenants, ...(projects.length > 0 ? { projects } : {}) };
}

function tenantOf(pool: NodePool, around: PoolSurroundings): string | undefined {
  const ref = judgePool(pool, around).tenant;
  return ref && tenantText(ref);
}

/**
 * The claims that are being replaced, as `name/uid`, with those that replace them: whoever saw these claims knows it, before
 * and after the node has its taint. Where one of several did not come to be, nothing is replaced.
 */
export function replacements(claims: readonly NodeClaim[]): ReadonlyMap<string, readonly NodeClaim[]> {
  const by = new Map<string, NodeClaim[]>();
  for (const claim of claims) {
    const names = claim.metadata.annotations?.[ANNOTATION_REPLACES];
    if (names === undefined || claim.metadata.deletionTimestamp) continue;
    for (const name of names.split(",")) by.set(name, [...(by.get(name) ?? []), claim]);
  }
  const wanted = (claim: NodeClaim) => Number.parseInt(claim.metadata.annotations?.[ANNOTATION_REPLACEMENTS] ?? "1", 10);
  return new Map([...by].filter(([, list]) => list.every((one) => list.length >= wanted(one))));
}

interface ClaimedNode {
  readonly claim: NodeClaim;
  readonly machine: string;
  readonly replaced: boolean;
}

function claimedNode(claim: NodeClaim, replaced: ReadonlyMap<string, unknown>): ClaimedNode[] {
  const machine = machineOf(claim);
  return machine === undefined ? [] : [{ claim, machine, replaced: replaced.has(`${claim.metadata.name}/${claim.metadata.uid}`) }];
}

/** The machine a claim names. */
export function machineOf(claim: NodeClaim): string | undefined {
  return claim.metadata.annotations?.[ANNOTATION_MACHINE];
}

function tenantWorld(
  tenant: KnownTenant,
  claims: readonly ClaimedNode[],
  supply: ReadonlyMap<string, MachineSupply>,
  now: Date,
): Omit<TenantWorld, "pools"> {
  const bound = podsByNode(tenant.pods);
  const nodes = new Map(tenant.nodes.map((node) => [node.metadata.name, node]));
  const ofClaims = claims.map(({ claim, machine, replaced }) => {
    const one = nodeSupply(machine, claim, nodes.get(machine), supply.get(machine), bound.get(machine) ?? [], tenant, now);
    return replaced ? { ...one, leaving: true } : one;
  });
  const claimed = new Set(ofClaims.map((one) => one.name));
  const others = tenant.nodes
    .filter((node) => !claimed.has(node.metadata.name))
    .map((node) => nodeSupply(node.metadata.name, undefined, node, undefined, bound.get(node.metadata.name) ?? [], tenant, now));
  return {
    tenant: tenant.tenant,
    nodes: [...ofClaims, ...others],
    pods: demand(tenant, [...ofClaims, ...others]),
    ...(tenant.namespaces ? { namespaces: namespaceLabels(tenant.namespaces) } : {}),
    daemons: tenant.daemonSets.filter((set) => !set.metadata.deletionTimestamp).map(daemonOf),
  };
}

function namespaceLabels(namespaces: readonly Namespace[]): TenantWorld["namespaces"] & object {
  return Object.fromEntries(namespaces.map((one) => [one.metadata.name, one.metadata.labels ?? {}]));
}

function podsByNode(pods: readonly Pod[]): Map<string, Pod[]> {
  const bound = new Map<string, Pod[]>();
  for (const pod of pods) {
    const name = pod.spec.nodeName;
    if (!name || isFinished(pod)) continue;
    const list = bound.get(name);
    if (list) list.push(pod);
    else bound.set(name, [pod]);
  }
  return bound;
}

/** Pods that wait for a node, and pods that will: those a controller makes again when their node is gone. */
function demand(tenant: KnownTenant, nodes: readonly NodeSupply[]): PendingPod[] {
  const leaving = new Set(nodes.filter((node) => node.leaving && node.pool !== undefined).map((node) => node.name));
  const moving = (pod: Pod) =>
    leaving.has(pod.spec.nodeName ?? "") &&
    isWorkload(pod) &&
    !pod.metadata.deletionTimestamp &&
    (pod.metadata.ownerReferences ?? []).some((owner) => owner.controller);
  const storage = tenant.storage ?? NO_STORAGE;
  return tenant.pods.filter((pod) => isUnschedulable(pod) || moving(pod)).map((pod) => pendingPod(pod, storage));
}

function nodeSupply(
  name: string,
  claim: NodeClaim | undefined,
  node: Node | undefined,
  machine: MachineSupply | undefined,
  pods: readonly Pod[],
  tenant: KnownTenant,
  now: Date,
): NodeSupply {
  const initialized = claim ? isTrue(claim.status?.conditions, "Initialized") : true;
  const pool = claim?.metadata.labels?.[LABEL_NODEPOOL];
  const work = pods.filter(isWorkload).map((pod) => runningPod(pod, tenant.budgets, now, tenant.storage ?? NO_STORAGE));
  return {
    name,
    ...(pool === undefined ? {} : { pool, machine: name }),
    ...(claim ? nodeDisruption(claim, node, tenant.lastPodEvents?.(name), work.length === 0, now) : {}),
    since: claim?.metadata.annotations?.[ANNOTATION_ORDER] ?? claim?.metadata.creationTimestamp ?? "",
    labels: { ...(initialized ? {} : claim?.metadata.labels), ...node?.metadata.labels },
    taints: taintsOf(claim, node, initialized),
    startupTaints: claim?.spec.startupTaints ?? [],
    initialized,
    leaving: isLeaving(claim, node),
    capacity: machine && machine.capacity.size > 0 ? machine.capacity : parseResources(node?.status?.capacity),
    allocatable: allocatableOf(claim, node, machine, initialized),
    used: sum(pods.map((pod) => add(podRequests(pod.spec), new Map([["pods", ONE]])))),
    hostPorts: pods.flatMap((pod) => hostPorts(pod.spec)),
    daemons: pods.filter(isOfDaemonSet).flatMap(daemonNames),
    pods: work,
  };
}

function daemonNames(pod: Pod): string[] {
  return (pod.metadata.ownerReferences ?? [])
    .filter((owner) => owner.kind === "DaemonSet")
    .map((owner) => `${pod.metadata.namespace}/${owner.name}`);
}

/** Who may go to a cordoned node is who tolerates this, as kube-scheduler's NodeUnschedulable has it; what runs there stays. */
const CORDONED: Taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };

/** Until it is registered a node lacks the taints of its claim. */
function taintsOf(claim: NodeClaim | undefined, node: Node | undefined, initialized: boolean): readonly Taint[] {
  const own = [...(node?.spec.taints ?? []), ...(node?.spec.unschedulable ? [CORDONED] : [])];
  return initialized ? own : [...own, ...(claim?.spec.taints ?? [])];
}

/** Pods placed there now would not stay. */
function isLeaving(claim: NodeClaim | undefined, node: Node | undefined): boolean {
  if (claim?.metadata.deletionTimestamp || node?.metadata.deletionTimestamp) return true;
  return node?.spec.taints?.some((taint) => taint.key === TAINT_DISRUPTED) ?? false;
}

/** The node's own word once it is initialised; before that device plugins may still be missing from it. */
function allocatableOf(
  claim: NodeClaim | undefined,
  node: Node | undefined,
  machine: MachineSupply | undefined,
  initialized: boolean,
): Resources {
  const own = parseResources(node?.status?.allocatable);
  if (initialized) return own;
  const promised = claim?.status?.allocatable ? parseResources(claim.status.allocatable) : (machine?.allocatable ?? new Map());
  return new Map([...promised, ...[...own].filter(([, amount]) => amount > 0n)]);
}

import { parseDuration } from "../../core/duration.ts";
import { LABEL_HOSTNAME, LABEL_INSTANCE_TYPE, LABEL_NODEPOOL } from "../../core/names.ts";
import { parseResources, sum } from "../../core/quantity.ts";
import { matchesSelector } from "../../core/requirements.ts";
import type { Requirement } from "../../core/resources.ts";
import type {
  Daemon,
  NodeSupply,
  PendingPod,
  Policy,
  PoolDisruption,
  PoolWorld,
  RunningPod,
  TenantWorld,
  WarmFloor,
  World,
} from "../plan/index.ts";
import type * as form from "./form.ts";
import { needsOf, offerOf } from "./needs.ts";
import { inOwnOrder } from "./order.ts";
import type { PodName } from "./outcome.ts";
import { isComing, isLeaving } from "./phases.ts";
import type { Given, Node, Problem } from "./read.ts";
import { budgetOf, gangOf, limitOf, quotaOf, share } from "./rules.ts";
import { catalogOf, placeLabels, type Server, serversOf, serverUnder, typeLabels, windowsOf } from "./servers.ts";

/** A scenario as the planner sees it, and how to say the planner's answer in the scenario's words. */
export interface Setting {
  readonly world: World;
  /** By `tenant/namespace/name`. */
  readonly pods: ReadonlyMap<string, PodName>;
  /** By machine. */
  readonly servers: ReadonlyMap<string, Server>;
  /** Classes of an endless catalog, by the name their servers begin with. */
  readonly catalog: readonly Server[];
  /** By `tenant/node`. */
  readonly nodes: ReadonlyMap<string, { readonly entry: string; readonly type: string }>;
  /** Things left out for want of something else. */
  readonly refused: readonly Problem[];
}

/** Whoever is not said to be anybody's. */
export const NOBODY = "default";
const DO_NOT_DISRUPT = ["karpenter.sh/do-not-disrupt", "do-not-disrupt"];
const GONE: ReadonlySet<string> = new Set(["succeeded", "failed"]);
/** Ages as texts that sort: the older first. */
function since(ageS: number): string {
  return String(1e15 - Math.round(ageS * 1_000)).padStart(16, "0");
}

export function settingOf(given: Given): Setting {
  return new Mapping(given).setting();
}

class Mapping {
  private readonly given: Given;
  private readonly pods = new Map<string, PodName>();
  private readonly counters = new Map<string, number>();
  private readonly refused: Problem[] = [];
  private readonly under: readonly Server[];
  private readonly bound: ReadonlyMap<string, readonly form.Pod[]>;

  constructor(given: Given) {
    this.given = given;
    this.under = given.nodes.flatMap((node) => {
      const type = given.types.get(node.type);
      return type && node.pool !== null ? [serverUnder(node, type)] : [];
    });
    const bound = new Map<string, form.Pod[]>(given.nodes.map((node) => [node.name, [...node.pods]]));
    for (const pod of given.pods) {
      if (pod.on === undefined) continue;
      const at = bound.get(pod.on);
      if (at) at.push(pod);
      else this.refused.push({ path: `given.pods[${pod.id ?? ""}].on`, reason: `there is no node ${pod.on}` });
    }
    for (const gang of given.gangs) {
      for (const name of [...(gang.on ?? []), ...(gang.place ?? [])]) {
        const at = bound.get(name);
        if (at) at.push(memberOf(gang));
        else this.refused.push({ path: `given.gangs[${gang.id}].on`, reason: `there is no node ${name}` });
      }
    }
    this.bound = new Map([...bound].map(([name, pods]) => [name, inOwnOrder(pods)]));
  }

  setting(): Setting {
    const { given } = this;
    const free = serversOf(given);
    const catalog = catalogOf(given);
    const servers = [...free, ...this.under];
    const tenants = this.tenantNames().map((name) => this.tenant(name));
    const world: World = {
      now: given.now,
      tenants,
      machines: servers.map((one) => one.machine),
      ...(catalog.length > 0 ? { catalog: catalog.map((one) => one.machine) } : {}),
      windows: windowsOf(given, servers, this.refused),
      floors: this.floors(),
      policy: this.policy(),
    };
    return {
      world,
      pods: this.pods,
      servers: new Map(servers.map((one) => [one.machine.name, one])),
      catalog,
      nodes: new Map(given.nodes.map(({ tenant = NOBODY, name, entry, type }) => [`${tenant}/${name}`, { entry, type }])),
      refused: this.refused,
    };
  }

  private tenantNames(): string[] {
    const { given } = this;
    const named = [...given.pods, ...given.gangs, ...given.nodes].map((one) => one.tenant ?? NOBODY);
    const all = new Set([...given.tenants.map((one) => one.name), ...named, ...given.windows.map((one) => one.tenant)]);
    return all.size === 0 ? [NOBODY] : [...all].sort();
  }

  private tenant(name: string): TenantWorld {
    const { given } = this;
    const quota = given.tenants.find((one) => one.name === name);
    const pools = given.pools.filter((pool) => servesTenant(pool, name));
    const mine = given.nodes.filter((node) => (node.tenant ?? NOBODY) === name);
    const moving: PendingPod[] = [];
    const nodes = mine.map((node) => this.node(node, name, pools, moving));
    const waiting = given.pods.filter((pod) => (pod.tenant ?? NOBODY) === name && pod.on === undefined && !isGone(pod));
    const pods = waiting.flatMap((pod) => this.pending(pod, name));
    const gangs = given.gangs.filter((gang) => (gang.tenant ?? NOBODY) === name);
    const members = gangs.flatMap((gang) => this.members(gang, name, nodes, moving));
    return {
      tenant: name,
      pools: pools.map((pool) => this.pool(pool)),
      nodes,
      pods: [...pods, ...members, ...moving],
      daemons: given.daemons.map((daemon, nth): Daemon => ({ name: daemonName(daemon, nth), needs: needsOf(daemon) })),
      ...(gangs.length > 0 ? { gangs: gangs.map(gangOf) } : {}),
      ...(quota ? { quota: quotaOf(quota) } : {}),
      ...(quota?.minRuntimeS === undefined ? {} : { minRuntimeS: quota.minRuntimeS }),
    };
  }

  /** One name for each of `n`: `w-0`, `w-1` …; entries of one id go on counting, and past names that others have. */
  private name(pod: form.Pod, tenant: string, gang?: string): string {
    const id = pod.id ?? gang ?? pod.gang ?? "pod";
    const scope = `${tenant}/${pod.ns}`;
    let nth = this.counters.get(`${scope}/${id}`) ?? 0;
    let name = pod.n === 1 && gang === undefined && nth === 0 ? id : `${id}-${nth}`;
    while (this.pods.has(`${scope}/${name}`)) {
      nth += 1;
      name = `${id}-${nth}`;
    }
    this.counters.set(`${scope}/${id}`, nth + 1);
    this.pods.set(`${scope}/${name}`, {
      pod: name,
      id,
      ...(gang === undefined ? {} : { gang }),
      ...(tenant === NOBODY ? {} : { tenant }),
    });
    return `${pod.ns}/${name}`;
  }

  private pending(pod: form.Pod, tenant: string, gang?: string): PendingPod[] {
    const needs = needsOf(pod);
    return Array.from({ length: pod.n }, () => ({
      key: this.name(pod, tenant, gang),
      since: since(pod.waitS ?? pod.ageS ?? 0),
      priority: pod.prio ?? 0,
      labels: pod.labels,
      needs,
      ...(pod.gang === undefined ? {} : { gang: pod.gang }),
      ...(pod.gates && pod.gates.length > 0 ? { gates: pod.gates } : {}),
      ...(pod.maxRuntimeS === undefined ? {} : { maxRuntimeS: pod.maxRuntimeS }),
    }));
  }

  private members(gang: form.Gang, tenant: string, nodes: readonly NodeSupply[], moving: readonly PendingPod[]): PendingPod[] {
    const running = nodes
      .filter((node) => !node.leaving)
      .flatMap((node) => node.pods ?? [])
      .filter((pod) => pod.gang === gang.id).length;
    const named = this.given.pods.some((pod) => pod.gang === gang.id && pod.on === undefined);
    const moved = moving.filter((pod) => pod.gang === gang.id).length;
    const n = named ? 0 : Math.max(0, (gang.size ?? gang.min) - running - moved);
    return this.pending({ ...memberOf(gang), n }, tenant, gang.id);
  }

  private node(node: Node, tenant: string, pools: readonly form.Pool[], moving: PendingPod[]): NodeSupply {
    const type = this.given.types.get(node.type);
    const pool = node.pool === undefined ? heaviest(pools) : pools.find((one) => one.name === node.pool);
    const poolName = node.pool === null ? undefined : (node.pool ?? pool?.name);
    const leaving = isLeaving(node, this.given.policy);
    const entries = (this.bound.get(node.name) ?? []).filter((pod) => !isGone(pod));
    const daemons = entries.filter((pod) => pod.daemon === true);
    const work = entries.filter((pod) => pod.daemon !== true);
    if (leaving) for (const pod of work) if (pod.owned !== false) moving.push(...this.pending({ ...pod, waitS: pod.ageS }, tenant));
    const running = leaving ? [] : work.flatMap((pod) => this.running(pod, tenant, node));
    const offer = type ? offerOf(type) : new Map();
    const quiet = node.quietS ?? Math.min(node.ageS, ...work.flatMap((pod) => pod.ageS ?? []));
    const emptyForS = node.empty_s ?? node.emptyS ?? node.quietS ?? node.ageS;
    const drifted = node.drifted !== false;
    return {
      name: node.name,
      ...(poolName === undefined ? {} : { pool: poolName, machine: node.name }),
      since: since(node.ageS),
      labels: {
        ...(type ? typeLabels(node.type, type) : { [LABEL_INSTANCE_TYPE]: node.type }),
        ...placeLabels(node),
        ...(pool ? givenByPool(pool, type) : {}),
        ...node.labels,
        [LABEL_HOSTNAME]: node.host ?? node.name,
        ...(poolName === undefined ? {} : { [LABEL_NODEPOOL]: poolName }),
      },
      taints: [
        ...node.taints,
        ...(pool?.taints ?? []).filter((one) => !node.taints.some((own) => own.key === one.key && own.effect === one.effect)),
      ],
      startupTaints: node.startupTaints ?? pool?.startupTaints ?? [],
      initialized: node.init ?? !isComing(node),
      leaving,
      capacity: offer,
      allocatable: offer,
      used: sum(entries.flatMap((pod) => Array.from({ length: pod.n }, () => needsOf(pod).requests))),
      hostPorts: entries.flatMap((pod) => needsOf(pod).hostPorts),
      daemons: daemons.map((pod, nth) => daemonName(pod, nth)),
      pods: running,
      ageS: node.ageS,
      ...(running.length === 0 ? { emptyForS } : {}),
      quietForS: running.length === 0 ? emptyForS : quiet,
      ...(drifted ? { drifted: "its pool would make it otherwise today" } : {}),
      ...(typeof node.drifted === "number" ? { driftedForS: node.drifted } : {}),
      ...(isProtected(node.annotations, node.ageS) ? { doNotDisrupt: true } : {}),
      ...(node.expireAfterS === undefined ? {} : { expireAfterS: node.expireAfterS }),
      ...(node.terminationGracePeriodS === undefined ? {} : { terminationGracePeriodS: node.terminationGracePeriodS }),
      cost: node.cost ?? type?.cost ?? 1,
    };
  }

  private running(pod: form.Pod, tenant: string, node: form.Node): RunningPod[] {
    const needs = needsOf(pod);
    const ageS = pod.ageS ?? node.ageS;
    const blockedBy = this.blockedBy(pod, tenant);
    return Array.from({ length: pod.n }, () => ({
      key: this.running1(pod, tenant),
      labels: pod.labels,
      priority: pod.prio ?? 0,
      needs,
      ageS,
      ...(pod.maxRuntimeS === undefined ? {} : { endsInS: Math.max(0, pod.maxRuntimeS - ageS), maxRuntimeS: pod.maxRuntimeS }),
      ...(pod.gang === undefined ? {} : { gang: pod.gang }),
      ...(blockedBy === undefined ? {} : { blockedBy }),
      ...(isProtected(pod.annotations, ageS) ? { doNotDisrupt: true } : {}),
      ...(pod.owned === false ? { bare: true } : {}),
      ...(pod.deletionCost === undefined ? {} : { deletionCost: pod.deletionCost }),
    }));
  }

  private running1(pod: form.Pod, tenant: string): string {
    const key = this.name(pod, tenant);
    const known = this.pods.get(`${tenant}/${key}`);
    if (known && pod.gang !== undefined) this.pods.set(`${tenant}/${key}`, { ...known, gang: pod.gang });
    return key;
  }

  /** What lets nobody evict a pod now: a budget that is used up, or two that disagree about whose it is. */
  private blockedBy(pod: form.Pod, tenant: string): string | undefined {
    const own = (pod.pdb ?? []).map((one) => ({
      name: ("name" in one ? one.name : undefined) ?? "its disruption budget",
      allowed: one.allowed,
    }));
    const matching = this.given.pdbs
      .filter((one) => one.ns === pod.ns && (one.tenant ?? NOBODY) === tenant && matchesSelector(one.match, pod.labels))
      .map((one) => ({ name: one.name ?? "its disruption budget", allowed: this.allowed(one, tenant) }));
    const all = [...own, ...matching];
    if (all.length > 1) return `${all.length} disruption budgets at once`;
    return all[0] && all[0].allowed < 1 ? all[0].name : undefined;
  }

  private allowed(pdb: form.DisruptionBudget, tenant: string): number {
    if (pdb.allowed !== undefined) return pdb.allowed;
    const healthy = this.given.nodes
      .filter((node) => (node.tenant ?? NOBODY) === tenant)
      .flatMap((node) => this.bound.get(node.name) ?? [])
      .filter((pod) => pod.ns === pdb.ns && matchesSelector(pdb.match, pod.labels))
      .reduce((total, pod) => total + pod.n, 0);
    if (pdb.minAvailable !== undefined) return healthy - share(pdb.minAvailable, healthy);
    return share(pdb.maxUnavailable ?? 0, healthy);
  }

  private pool(pool: form.Pool): PoolWorld {
    const { policy } = this.given;
    const image = pool.image ?? policy.image;
    const types: Requirement[] = pool.types ? [{ key: LABEL_INSTANCE_TYPE, operator: "In", values: pool.types }] : [];
    return {
      name: pool.name,
      weight: pool.weight,
      ...(pool.ready ? {} : { problem: "is not ready" }),
      machineClass: { name: pool.name, selector: {}, ...(image === undefined ? {} : { image: { sha256: image, sizeBytes: 0 } }) },
      requirements: [...pool.req, ...types],
      labels: pool.labels,
      taints: pool.taints,
      startupTaints: pool.startupTaints,
      limits: parseResources(Object.fromEntries(Object.entries(pool.limits).map(([key, limit]) => limitOf(key, limit)))),
      plainPodsOnAccelerators: (pool.cpuOnGpuHosts ?? policy.cpuOnGpuHosts) === "allow",
      disruption: this.disruption(pool),
      ...(pool.replicas === undefined ? {} : { replicas: pool.replicas }),
    };
  }

  private disruption(pool: form.Pool): PoolDisruption {
    const { policy } = this.given;
    const after = Math.max(pool.consolidateAfterS ?? policy.consolidateAfterS ?? 0, policy.hysteresisS ?? 0);
    const expireAfterS = pool.expireAfterS ?? policy.expireAfterS;
    const terminationGracePeriodS = pool.terminationGracePeriodS ?? policy.terminationGracePeriodS;
    return {
      policy: pool.consolidationPolicy ?? policy.consolidationPolicy ?? "WhenEmptyOrUnderutilized",
      consolidateAfterS: Number.isFinite(after) ? after : "never",
      budgets: (pool.budgets ?? policy.budgets ?? []).map(budgetOf),
      ...(expireAfterS === undefined || !Number.isFinite(expireAfterS) ? {} : { expireAfterS }),
      ...(terminationGracePeriodS === undefined ? {} : { terminationGracePeriodS }),
    };
  }

  private floors(): readonly WarmFloor[] {
    const { warm, warmFloor } = this.given.policy;
    return Object.entries(warmFloor ?? warm ?? {}).map(([type, { n, prio }]) => ({
      machineClass: type,
      selector: type === "*" ? {} : { [LABEL_INSTANCE_TYPE]: type },
      count: n,
      ...(prio === undefined ? {} : { priority: prio }),
    }));
  }

  private policy(): Policy {
    const { policy } = this.given;
    const { drainS = 0, wipeS, installS = 0 } = policy;
    const wait = policy.waitForWipeS ?? policy.waitS;
    const preferences = policy.preferencePolicy ?? policy.preferences;
    return {
      preferences: preferences === "ignore-for-new-hosts" ? "rank" : preferences,
      minValues: (policy.minValuesPolicy ?? policy.minValues) === "besteffort" ? "BestEffort" : "Strict",
      turnaroundS: policy.turnaroundS ?? drainS + (wipeS ?? 0) + installS,
      ...(wipeS === undefined ? {} : { wipeS }),
      ...(wait === undefined ? {} : { waitForWipeS: wait }),
      ...(policy.minRuntimeS === undefined ? {} : { minRuntimeS: policy.minRuntimeS }),
      ...(policy.expendableBelow === undefined ? {} : { expendableBelow: policy.expendableBelow }),
      ...(policy.workBudget === undefined ? {} : { work: policy.workBudget }),
    };
  }
}

function servesTenant(pool: form.Pool, tenant: string): boolean {
  const named = [...(pool.tenant ?? []), ...(pool.tenants ?? [])];
  return named.length === 0 || named.includes(tenant);
}

/** The pool that is tried first: the heaviest, by name among equals. */
function heaviest(pools: readonly form.Pool[]): form.Pool | undefined {
  return [...pools].sort((a, b) => b.weight - a.weight)[0];
}

function memberOf({ id, tenant, pod, prio = pod.prio, waitS = pod.waitS, maxRuntimeS = pod.maxRuntimeS }: form.Gang): form.Pod {
  return { ...pod, n: 1, gang: id, tenant, prio, waitS, maxRuntimeS };
}

function isGone(pod: form.Pod): boolean {
  return pod.phase !== undefined && GONE.has(pod.phase.toLowerCase());
}

function daemonName(pod: form.Pod, nth: number): string {
  return pod.id ?? `daemon-${nth}`;
}

/** Labels only a pool defines: its own, and what it asks for with a single value. */
function givenByPool(pool: form.Pool, type: form.Type | undefined): Record<string, string> {
  const single = pool.req.filter((one) => one.operator === "In" && one.values?.length === 1 && type?.labels[one.key] === undefined);
  return { ...Object.fromEntries(single.map((one) => [one.key, one.values?.[0] ?? ""])), ...pool.labels };
}

/** `true`, or a duration that has not run out since the start. */
function isProtected(annotations: Readonly<Record<string, string>>, ageS: number): boolean {
  return DO_NOT_DISRUPT.some((key) => {
    const value = annotations[key];
    if (value === undefined || value === "true") return value === "true";
    const ms = parseDuration(value);
    return ms !== undefined && ageS * 1_000 < ms;
  });
}

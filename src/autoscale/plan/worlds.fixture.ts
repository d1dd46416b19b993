import { ONE, parseResources, type Resources } from "../../core/quantity.ts";
import type { Taint } from "../../core/resources.ts";
import type { Plan } from "./answer.ts";
import type { ClassWorld, MachineSupply, NodeSupply, PendingPod, PodNeeds, PoolWorld, TenantWorld, World } from "./world.ts";

/** Short ways to say a world, for tests. */
export interface Size {
  readonly cpu?: number;
  /** GiB. */
  readonly memory?: number;
  readonly gpu?: number;
}

export function sized({ cpu = 0, memory = 0, gpu = 0 }: Size, pods = 110): Resources {
  const list = { cpu, memory: `${memory}Gi`, pods, ...(gpu > 0 ? { "nvidia.com/gpu": gpu } : {}) };
  return new Map([...parseResources(list)].filter(([, amount]) => amount > 0n));
}

export function machine(name: string, size: Size, more: Partial<MachineSupply> = {}): MachineSupply {
  return {
    name,
    labels: {},
    nodeLabels: { "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name },
    capacity: sized(size),
    allocatable: sized(size),
    gpus: Array.from({ length: size.gpu ?? 0 }, () => "10de:2330"),
    disks: [{ name: "nvme0n1", serial: name, model: "disk", sizeBytes: 2 ** 40 }],
    ...more,
  };
}

export function needs(size: Size, more: Partial<PodNeeds> = {}): PodNeeds {
  return { requests: new Map([...sized(size, 1), ["pods", ONE]]), terms: [[]], tolerations: [], hostPorts: [], ...more };
}

export function pod(key: string, size: Size, more: Partial<PodNeeds> = {}, rest: Partial<PendingPod> = {}): PendingPod {
  return { key: `default/${key}`, since: "2026-01-01T00:00:00Z", priority: 0, labels: {}, needs: needs(size, more), ...rest };
}

export const ANY_CLASS: ClassWorld = { name: "any", selector: {} };

export function pool(name: string, more: Partial<PoolWorld> = {}): PoolWorld {
  return {
    name,
    weight: 0,
    machineClass: ANY_CLASS,
    requirements: [],
    labels: {},
    taints: [],
    startupTaints: [],
    limits: new Map(),
    plainPodsOnAccelerators: false,
    ...more,
  };
}

export function node(name: string, size: Size, more: Partial<NodeSupply> = {}): NodeSupply {
  return {
    name,
    since: "2026-01-01T00:00:00Z",
    labels: { "kubernetes.io/hostname": name },
    taints: [],
    startupTaints: [],
    initialized: true,
    leaving: false,
    capacity: sized(size),
    allocatable: sized(size),
    used: new Map(),
    hostPorts: [],
    daemons: [],
    ...more,
  };
}

export function tenant(name: string, more: Partial<TenantWorld> = {}): TenantWorld {
  return { tenant: `acme.${name}`, pools: [pool("p")], nodes: [], pods: [], daemons: [], ...more };
}

export function world(machines: readonly MachineSupply[], ...tenants: readonly TenantWorld[]): World {
  return { machines, tenants };
}

export function taint(key: string, effect: Taint["effect"] = "NoSchedule"): Taint {
  return { key, effect };
}

/** `{machine: [pods]}` of what a plan claims. */
export function claimed(plan: Plan): Record<string, string[]> {
  return Object.fromEntries(plan.claims.map((claim) => [claim.machine, podsOn(plan, claim.machine)]));
}

export function podsOn(plan: Plan, name: string): string[] {
  return plan.placements
    .filter((one) => one.node === name)
    .flatMap((one) => one.pods.map((key) => key.replace("default/", "")))
    .sort();
}

/** The world as it is once a plan's claims exist and nothing else has happened. */
export function carriedOut(before: World, plan: Plan): World {
  const claims = new Map(plan.claims.map((claim, nth) => [claim.machine, { claim, nth }]));
  return {
    ...before,
    machines: before.machines.map((one) => (claims.has(one.name) ? { ...one, unavailable: "in use" } : one)),
    tenants: before.tenants.map((one) => ({
      ...one,
      nodes: [
        ...one.nodes,
        ...[...claims.values()]
          .filter(({ claim }) => claim.tenant === one.tenant)
          .map(
            ({ claim, nth }): NodeSupply => ({
              name: claim.machine,
              pool: claim.pool,
              since: `2026-02-01T00:00:00Z/${String(nth).padStart(4, "0")}`,
              labels: claim.labels,
              taints: [...claim.taints, ...claim.startupTaints, taint("karpenter.sh/unregistered", "NoExecute")],
              startupTaints: claim.startupTaints,
              initialized: false,
              leaving: false,
              capacity: claim.capacity,
              allocatable: claim.allocatable,
              used: new Map(),
              hostPorts: [],
              daemons: [],
            }),
          ),
      ],
    })),
  };
}

import { readFileSync } from "node:fs";
import type {
  MachineSupply,
  NodeSupply,
  PendingPod,
  PodNeeds,
  Policy,
  PoolWorld,
  TenantWorld,
  World,
} from "../../../src/autoscale/plan/index.ts";
import { pendingPod } from "../../../src/autoscale/world/pods.ts";
import { parseResources } from "../../../src/core/quantity.ts";
import type { Node, Pod, ResourceList } from "../../../src/kube/index.ts";

/** What a scenario's run of Karpenter was given. */
interface Given {
  readonly types: readonly { readonly name: string; readonly allocatable: ResourceList; readonly price: number }[];
  readonly zones: readonly string[];
  readonly nodes: readonly Node[] | null;
  readonly pods: readonly Pod[];
}

const SINCE = "2026-01-01T00:00:00Z";

/** The very pods, types and nodes that Karpenter got, read as the product reads them. */
export function worldOfScenario(file: string, policy: Policy = {}): World {
  const { types, zones, nodes, pods }: Given = JSON.parse(readFileSync(file, "utf8"));
  const catalog = types.flatMap(({ name, allocatable, price }) =>
    zones.map((zone) => ({
      ...machine(`${name}-${zone}`, allocatable, { "topology.kubernetes.io/zone": zone, "node.kubernetes.io/instance-type": name }),
      cost: price,
    })),
  );
  return {
    policy,
    machines: [],
    catalog,
    tenants: [
      tenant("default.bench", {
        nodes: (nodes ?? []).map(existing),
        // they wait for a node: the scheduler's word for it is all that is missing
        pods: pods.map((pod) => pendingPod({ ...pod, metadata: { ...pod.metadata, creationTimestamp: SINCE } })),
      }),
    ],
  };
}

export interface FleetSize {
  readonly pods: number;
  readonly kinds: number;
  readonly tenants: number;
  readonly machines: number;
  /** Pods ask for one of so many parts of what they would, and for nothing that cannot be divided: so that more of them need no more machines. */
  readonly parts?: number;
}

/** Many tenants on a fleet of GPU servers: kinds differ in what they ask for, racks hold 32, some kinds must be spread or kept apart. */
export function fleet({ pods, kinds, tenants, machines, parts }: FleetSize): World {
  const templates = Array.from({ length: kinds }, (_, nth) => template(nth, parts));
  const perTenant = Math.ceil(pods / tenants);
  let made = 0;
  const all = Array.from({ length: tenants }, (_, n) => {
    const count = Math.min(perTenant, pods - made);
    const list = Array.from({ length: count }, (_, at): PendingPod => {
      // a tenant has a few kinds of its own choice
      const { needs, labels, priority } = elementOf(templates, (n * 7 + (at % 4) * 53) % kinds);
      return { key: `default/p${made + at}`, since: SINCE, priority, labels, needs };
    });
    made += count;
    return tenant(`t${n}.vc`, { pods: list });
  });
  return { machines: Array.from({ length: machines }, (_, n) => server(n, parts === undefined ? "110" : "100000")), tenants: all };
}

interface Template {
  readonly needs: PodNeeds;
  readonly labels: Readonly<Record<string, string>>;
  readonly priority: number;
}

function template(nth: number, parts?: number): Template {
  const app = `app-${nth}`;
  const whole = parts === undefined;
  const gpus = !whole ? 0 : ([0, 0, 1, 0, 0, 2, 0, 0, 1, 0][nth % 10] ?? 0);
  const selector = { matchLabels: { app } };
  return {
    labels: { app },
    priority: nth % 5 === 0 ? 100 : 0,
    needs: {
      requests: parseResources({
        cpu: `${((1 + (nth % 11)) * 1_000) / (parts ?? 1)}m`,
        memory: `${((2 + (nth % 17)) * 1_024) / (parts ?? 1)}Mi`,
        pods: 1,
        ...(gpus > 0 ? { "nvidia.com/gpu": gpus } : {}),
      }),
      terms: nth % 4 === 0 ? [[{ key: "topology.kubernetes.io/zone", operator: "In", values: [`z${nth % 3}`] }]] : [[]],
      tolerations: [],
      hostPorts: [],
      ...(nth % 10 === 1 ? { spread: [{ key: "topology.kubernetes.io/zone", maxSkew: 1, hard: true, selector }] } : {}),
      ...(whole && nth % 50 === 2 ? { antiAffinity: [{ key: "kubernetes.io/hostname", selector }] } : {}),
    },
  };
}

function server(n: number, pods: string): MachineSupply {
  const [cpu, memory, gpus] = elementOf(
    [
      [192, 2048, 8],
      [128, 1024, 8],
      [96, 768, 4],
      [64, 256, 0],
    ] as const,
    n % 4,
  );
  return machine(
    `m${String(n).padStart(5, "0")}`,
    { cpu: `${cpu}`, memory: `${memory}Gi`, pods, ...(gpus > 0 ? { "nvidia.com/gpu": `${gpus}` } : {}) },
    {
      "topology.kubernetes.io/zone": `z${Math.floor(n / 32) % 3}`,
      "topology.ironwright.dev/rack": `r${Math.floor(n / 32)}`,
      "kubernetes.io/hostname": `m${String(n).padStart(5, "0")}`,
    },
    gpus,
  );
}

function machine(name: string, allocatable: ResourceList, nodeLabels: Readonly<Record<string, string>>, gpus = 0): MachineSupply {
  const amounts = parseResources(allocatable);
  return {
    name,
    labels: {},
    nodeLabels: { "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", ...nodeLabels },
    capacity: amounts,
    allocatable: amounts,
    gpus: Array.from({ length: gpus }, () => "10de:2330"),
    disks: [{ name: "nvme0n1", serial: "0", model: "disk", sizeBytes: 2 ** 40 }],
  };
}

function existing(node: Node): NodeSupply {
  const allocatable = parseResources(node.status?.allocatable);
  return {
    name: node.metadata.name,
    since: SINCE,
    labels: node.metadata.labels ?? {},
    taints: [],
    startupTaints: [],
    initialized: true,
    leaving: false,
    capacity: allocatable,
    allocatable,
    used: new Map(),
    hostPorts: [],
    daemons: [],
  };
}

function tenant(name: string, more: Partial<TenantWorld>): TenantWorld {
  return { tenant: name, pools: [POOL], nodes: [], pods: [], daemons: [], ...more };
}

const POOL: PoolWorld = {
  name: "bench",
  weight: 0,
  machineClass: { name: "any", selector: {} },
  requirements: [],
  labels: {},
  taints: [],
  startupTaints: [],
  limits: new Map(),
  plainPodsOnAccelerators: true,
};

function elementOf<T>(list: readonly T[], n: number): T {
  const one = list[n];
  if (one === undefined) throw new Error(`no element ${n} of ${list.length}`);
  return one;
}

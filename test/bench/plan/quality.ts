import type { MachineSupply } from "../../../src/autoscale/plan/index.ts";
import { plan, type World } from "../../../src/autoscale/plan/index.ts";
import { parseResources } from "../../../src/core/quantity.ts";
import { seededRandom } from "../../../src/core/random.ts";

/** How plans compare with the best there is, over small random worlds. */
export interface Quality {
  readonly worlds: number;
  /** As many pods placed as possible, on as few machines as those need. */
  readonly optimal: number;
  /** Pods that could have been placed besides, in all. */
  readonly podsMissed: number;
  /** Machines claimed besides what the best plan for as many pods claims, in all. */
  readonly machinesMore: number;
  readonly machinesBest: number;
}

type Vector = readonly [gpu: number, cpu: number];

export function planQuality(worlds: number, seed: number): Quality {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  let [optimal, podsMissed, machinesMore, machinesBest] = [0, 0, 0, 0];
  for (let nth = 0; nth < worlds; nth++) {
    const machines = Array.from(
      { length: 1 + Math.floor(random() * 4) },
      (): Vector =>
        pick([
          [8, 64],
          [8, 32],
          [4, 48],
          [0, 32],
        ]),
    );
    const pods = Array.from({ length: 1 + Math.floor(random() * 7) }, (): Vector => [pick([0, 1, 2, 3, 4, 5, 8]), pick([1, 4, 8, 15, 24])]);
    const best = bestOf(machines, pods);
    const made = plan(worldOf(machines, pods));
    const placed = made.placements.reduce((sum, one) => sum + one.pods.length, 0);
    const claimed = made.claims.length;
    const wanted = best.get(placed) ?? 0;
    const most = Math.max(...best.keys());
    if (placed === most && claimed === wanted) optimal += 1;
    podsMissed += most - placed;
    machinesMore += claimed - wanted;
    machinesBest += wanted;
  }
  return { worlds, optimal, podsMissed, machinesMore, machinesBest };
}

/** By trying everything: for each number of pods that can be placed, the fewest machines that takes. */
function bestOf(machines: readonly Vector[], pods: readonly Vector[]): Map<number, number> {
  const best = new Map<number, number>();
  const free = machines.map(([gpu, cpu]) => ({ gpu, cpu, pods: 0 }));
  const visit = (at: number, placed: number) => {
    const pod = pods[at];
    if (!pod) {
      const used = free.filter((one) => one.pods > 0).length;
      if (used < (best.get(placed) ?? Number.POSITIVE_INFINITY)) best.set(placed, used);
      return;
    }
    const [gpu, cpu] = pod;
    for (const one of free) {
      if (one.gpu < gpu || one.cpu < cpu) continue;
      one.gpu -= gpu;
      one.cpu -= cpu;
      one.pods += 1;
      visit(at + 1, placed + 1);
      one.gpu += gpu;
      one.cpu += cpu;
      one.pods -= 1;
    }
    visit(at + 1, placed);
  };
  visit(0, 0);
  return best;
}

function worldOf(machines: readonly Vector[], pods: readonly Vector[]): World {
  return {
    machines: machines.map(machineOf),
    tenants: [
      {
        tenant: "default.quality",
        nodes: [],
        daemons: [],
        pools: [
          {
            name: "any",
            weight: 0,
            machineClass: { name: "any", selector: {} },
            requirements: [],
            labels: {},
            taints: [],
            startupTaints: [],
            limits: new Map(),
            plainPodsOnAccelerators: true,
          },
        ],
        pods: pods.map(([gpu, cpu], n) => ({
          key: `default/p${n}`,
          since: "2026-01-01T00:00:00Z",
          priority: 0,
          labels: {},
          needs: {
            requests: parseResources({ cpu, pods: 1, ...(gpu > 0 ? { "nvidia.com/gpu": gpu } : {}) }),
            terms: [[]],
            tolerations: [],
            hostPorts: [],
          },
        })),
      },
    ],
  };
}

function machineOf([gpu, cpu]: Vector, n: number): MachineSupply {
  const amounts = parseResources({ cpu, memory: "512Gi", pods: 110, ...(gpu > 0 ? { "nvidia.com/gpu": gpu } : {}) });
  return {
    name: `m${n}`,
    labels: {},
    nodeLabels: { "kubernetes.io/hostname": `m${n}` },
    capacity: amounts,
    allocatable: amounts,
    gpus: Array.from({ length: gpu }, () => "10de:2330"),
    disks: [{ name: "nvme0n1", serial: "0", model: "disk", sizeBytes: 2 ** 40 }],
  };
}

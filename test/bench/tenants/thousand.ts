import { VIRTUAL_CLUSTER } from "../../../src/core/resources.ts";
import type { MachineMemory } from "./machine-memory.ts";
import type { World } from "./world.ts";

/** What a host with so many tenants took, all in all. */
export interface Measured {
  readonly tenants: number;
  /** The others sleep. */
  readonly awake: number;
  readonly usedMiB: number;
  readonly swapMiB: number;
  readonly shards: number;
}

/** The tenants there are, with the machine's memory as it was just now. */
export async function measuredWith({ host, before }: World, { used, swapUsed }: MachineMemory): Promise<Measured> {
  const { items } = await host.kube.list(VIRTUAL_CLUSTER);
  const shards = (await host.supervisor.list()).filter(({ name }) => name.startsWith("tenants-etcd"));
  return {
    tenants: items.length,
    awake: items.filter(({ status }) => (status?.sleep?.state ?? "awake") === "awake").length,
    usedMiB: Math.round(used - before.used),
    swapMiB: Math.round(swapUsed - before.swapUsed),
    shards: shards.length,
  };
}

/** What more tenants would need by one tenant's share, one in twenty awake: computed; beside it, by the same sum, what was measured. */
export function curve(figures: Readonly<Record<string, number>>, measured: readonly Measured[]): readonly (readonly string[])[] {
  const { hostMiB = 0, awakeMiB = 0, hibernatedMiB = 0, hibernatedSwapMiB = 0 } = figures;
  const row = (tenants: number, awake: number, found?: Measured) => [
    `${tenants}, ${awake} awake${found ? "" : " (computed alone)"}`,
    gibibytes(hostMiB + awake * awakeMiB + (tenants - awake) * hibernatedMiB),
    found ? gibibytes(found.usedMiB) : "",
    gibibytes((tenants - awake) * hibernatedSwapMiB),
    found ? gibibytes(found.swapMiB) : "",
    String(Math.ceil(tenants / TENANTS_A_SHARD)),
    found ? String(found.shards) : "",
  ];
  return [
    ["tenants", "memory, GiB: computed", "measured", "swap, GiB: computed", "measured", "shards of etcd: computed", "measured"],
    ...[...measured].sort((a, b) => a.tenants - b.tenants || a.awake - b.awake).map((one) => row(one.tenants, one.awake, one)),
    ...COMPUTED.map((tenants) => row(tenants, Math.ceil(tenants / 20))),
  ];
}

const COMPUTED = [10, 60, 200, 1000];
const TENANTS_A_SHARD = 20;

function gibibytes(mebibytes: number): string {
  return (mebibytes / 1024).toFixed(2);
}

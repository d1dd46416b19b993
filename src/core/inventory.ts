import type { Gpu, Inventory, MachineSummary } from "./resources.ts";

const GIB = 1024 ** 3;

/** What a list shows of a machine. */
export function summaryOf(inventory: Inventory): MachineSummary {
  return {
    cpu: String(inventory.cpu.threads),
    memory: `${Number((inventory.memoryBytes / GIB).toFixed(1))}Gi`,
    gpus: gpus(inventory.gpus),
  };
}

function gpus(all: readonly Gpu[]): string {
  const counts = new Map<string, number>();
  for (const gpu of all) counts.set(shortName(gpu), (counts.get(shortName(gpu)) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${count}× ${name}`).join(", ") || "none";
}

/** pci.ids writes `GH100 [H100 SXM5 80GB]`: people know what stands in the brackets. */
function shortName(gpu: Gpu): string {
  return /\[([^\]]+)\]\s*$/.exec(gpu.model)?.[1] ?? (gpu.model || gpu.id);
}

/** What more tenants would need, by what one was measured to: computed, not run. */
export function curve(figures: Readonly<Record<string, number>>): readonly (readonly string[])[] {
  const { hostMiB = 0, awakeMiB = 0, hibernatedMiB = 0, hibernatedSwapMiB = 0 } = figures;
  return [
    ["tenants, one in twenty awake (computed from one tenant's share)", "memory, GiB", "swap, GiB", "shards of etcd"],
    ...[10, 60, 200, 1000].map((tenants) => {
      const awake = Math.ceil(tenants / 20);
      const memory = hostMiB + awake * awakeMiB + (tenants - awake) * hibernatedMiB;
      return [String(tenants), gibibytes(memory), gibibytes(tenants * hibernatedSwapMiB), String(Math.ceil(tenants / TENANTS_A_SHARD))];
    }),
  ];
}

const TENANTS_A_SHARD = 20;

function gibibytes(mebibytes: number): string {
  return (mebibytes / 1024).toFixed(1);
}

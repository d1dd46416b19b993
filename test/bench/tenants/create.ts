import { list, spread, spreadFigures, type TenantsOptions, type TenantsPart } from "./part.ts";

/** More would only wait in memory: it is full again before the next tenant comes. */
const POOL = 2;

/** From the VirtualCluster's creation to an answer by its kubeconfig through the front door, one tenant after the other. */
export async function benchCreate({ world, count, say }: TenantsOptions): Promise<TenantsPart> {
  const cold = await some("cold", count, async () => {});
  say(`waiting for a pool of ${POOL}`);
  await world.pool(POOL);
  const warm = await some("warm", count, () => world.poolFull(POOL));
  await world.pool(0);
  return {
    figures: { createTenants: count, ...spreadFigures("createCold", cold), ...spreadFigures("createWarm", warm) },
    table: [
      ["creating a tenant", "ms, p50 / p99"],
      [`cold, of ${count}`, spread(cold)],
      [`from a warm pool, of ${count}`, spread(warm)],
    ],
  };

  async function some(kind: string, times: number, before: () => Promise<void>): Promise<number[]> {
    const took: number[] = [];
    for (let nth = 0; nth < times; nth += 1) {
      await before();
      say(`waiting for ${kind} tenant ${nth + 1} of ${times}`);
      const name = `${kind}-${nth}`;
      took.push(await world.create(name));
      await world.join(name);
    }
    say(`${kind}: ${list(took)} ms`);
    return took;
  }
}

import { seededRandom } from "../../core/random.ts";
import type { TenantWorld, World } from "../plan/index.ts";

/** The same world told in another order; the same seed, the same order. */
export function shuffled(world: World, seed: number): World {
  const random = seededRandom(seed);
  const mix = <T>(list: readonly T[]): T[] => {
    const mixed = [...list];
    for (let last = mixed.length - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      const [a, b] = [mixed[last], mixed[other]];
      if (a !== undefined && b !== undefined) [mixed[last], mixed[other]] = [b, a];
    }
    return mixed;
  };
  const tenant = (one: TenantWorld): TenantWorld => ({
    ...one,
    pools: mix(one.pools),
    nodes: mix(one.nodes.map((node) => (node.pods ? { ...node, pods: mix(node.pods) } : node))),
    pods: mix(one.pods),
    daemons: mix(one.daemons),
    ...(one.gangs ? { gangs: mix(one.gangs) } : {}),
  });
  return {
    ...world,
    tenants: mix(world.tenants.map(tenant)),
    machines: mix(world.machines),
    ...(world.catalog ? { catalog: mix(world.catalog) } : {}),
    ...(world.windows ? { windows: mix(world.windows) } : {}),
    ...(world.floors ? { floors: mix(world.floors) } : {}),
  };
}

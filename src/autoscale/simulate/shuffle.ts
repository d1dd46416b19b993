import { seededRandom } from "../../core/random.ts";
import type { TenantWorld, World } from "../plan/index.ts";
import { isRecord, type Raw } from "./read.ts";

/** The same scenario told in another order: each list of what is given, and the pods of each node. The same seed, the same order. */
export function retold(given: Raw, seed: number): Raw {
  const mix = mixer(seed);
  const thing = (one: unknown) => (isRecord(one) && Array.isArray(one.pods) ? { ...one, pods: mix(one.pods) } : one);
  return Object.fromEntries(Object.entries(given).map(([key, list]) => [key, Array.isArray(list) ? mix(list.map(thing)) : list]));
}

/** The same world told in another order; the same seed, the same order. */
export function shuffled(world: World, seed: number): World {
  const mix = mixer(seed);
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

function mixer(seed: number): <T>(list: readonly T[]) => T[] {
  const random = seededRandom(seed);
  return <T>(list: readonly T[]) => {
    const mixed = [...list];
    for (let last = mixed.length - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      [mixed[last], mixed[other]] = [mixed[other] as T, mixed[last] as T];
    }
    return mixed;
  };
}

import { LABEL_HOSTNAME } from "../../core/names.ts";
import { Planner } from "./passes.ts";
import { plan } from "./plan.ts";
import type { World } from "./world.ts";

/** The world with one more free machine like one it has. */
export function withOneMore(world: World, nth: number): World | undefined {
  const free = world.machines.filter((one) => one.unavailable === undefined && one.readyInS === undefined);
  const like = free[nth % free.length];
  if (!like) return undefined;
  const name = "zz-one-more";
  return { ...world, machines: [...world.machines, { ...like, name, nodeLabels: { ...like.nodeLabels, [LABEL_HOSTNAME]: name } }] };
}

interface Waiting {
  readonly tenant: string;
  readonly priority: number;
  readonly gang: string | undefined;
  readonly waits: boolean;
}

/**
 * Pods that have a place in one world and none in a larger one, though nothing excuses it. Excused is a loss where, of what
 * had no place before, there gets one: a pod of the same tenant that its order takes earlier; a member of a gang; a pod of
 * another tenant, whose turn it was; or more pods of that priority and above in all. A pod that runs and would have been
 * evicted comes before any that waits, and a gang that starts may have fewer members beyond its minimum: they have what is left
 * of its domain.
 */
export function lostInVain(world: World, larger: World): string[] {
  const before = havingAPlace(world);
  const after = havingAPlace(larger);
  const gone = [...before].filter((key) => !after.has(key));
  if (gone.length === 0) return [];
  const fresh = [...after].filter((key) => !before.has(key));
  const pods: ReadonlyMap<string, Waiting> = new Map(
    larger.tenants.flatMap(({ tenant, pods: waiting, nodes }) =>
      [...waiting, ...nodes.flatMap((node) => node.pods ?? [])].map(
        ({ key, priority, gang }) =>
          [`${tenant} ${key}`, { tenant, priority, gang, waits: waiting.some((one) => one.key === key) }] as const,
      ),
    ),
  );
  const ranks: ReadonlyMap<string, number> = new Map(
    new Planner(larger)
      .run()
      .flatMap(({ cluster }) =>
        cluster.demand.kinds.flatMap((kind, rank) => kind.keys.map((key) => [`${kind.tenant} ${key}`, rank] as const)),
      ),
  );
  const rank = (key: string) => ranks.get(key) ?? Number.POSITIVE_INFINITY;
  const reaching = (keys: ReadonlySet<string>, least: number) => [...keys].filter((key) => (pods.get(key)?.priority ?? 0) >= least).length;
  return gone.filter((key) => {
    const pod = pods.get(key);
    if (!pod) return false;
    const favoured = fresh.some((other) => {
      const one = pods.get(other);
      return one?.waits === false || one?.gang !== undefined || one?.tenant !== pod.tenant || rank(other) < rank(key);
    });
    const starts =
      pod.gang !== undefined && [...after].some((other) => pods.get(other)?.gang === pod.gang && pods.get(other)?.tenant === pod.tenant);
    return !favoured && !starts && reaching(after, pod.priority) <= reaching(before, pod.priority);
  });
}

/** What is placed, and what runs and stays. */
function havingAPlace(world: World): Set<string> {
  const { placements, actions = [] } = plan(world);
  const evicted: ReadonlySet<string> = new Set(actions.flatMap((one) => one.pods.map((key) => `${one.from} ${key}`)));
  const running = world.tenants.flatMap(({ tenant, nodes }) =>
    nodes.flatMap((node) => (node.pods ?? []).map((pod) => `${tenant} ${pod.key}`)),
  );
  return new Set<string>([
    ...running.filter((key) => !evicted.has(key)),
    ...placements.flatMap(({ tenant, pods }) => pods.map((key) => `${tenant} ${key}`)),
  ]);
}

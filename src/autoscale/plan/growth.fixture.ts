import fc from "fast-check";
import { LABEL_HOSTNAME } from "../../core/names.ts";
import type { Plan } from "./answer.ts";
import { Planner } from "./passes.ts";
import { plan } from "./plan.ts";
import { Shares } from "./shares.ts";
import type { World } from "./world.ts";

/** The world with one more free machine like one it has. */
export function withOneMore(world: World, nth: number): World | undefined {
  const free = world.machines.filter((one) => one.unavailable === undefined && one.readyInS === undefined);
  const like = free[nth % free.length];
  if (!like) return undefined;
  const name = "zz-one-more";
  return { ...world, machines: [...world.machines, { ...like, name, nodeLabels: { ...like.nodeLabels, [LABEL_HOSTNAME]: name } }] };
}

/** Of 300 random worlds about one loses a pod in vain, of whatever kind they are; more than these do once in a million tests. */
const WORLDS = 300;
export const FEW = 8;

/** What each of some random worlds loses in vain once it has one more machine; those that lose nothing left out. */
export function lossesOf(worlds: fc.Arbitrary<World>): string[][] {
  return fc.sample(fc.tuple(worlds, fc.nat()), WORLDS).flatMap(([world, nth]) => {
    const larger = withOneMore(world, nth);
    const lost = larger ? lostInVain(world, larger) : [];
    return lost.length > 0 ? [lost] : [];
  });
}

/**
 * Pods that have a place in one world and none in a larger one, though nothing excuses it. Excused is a loss where, of what
 * had no place before, there gets one: a pod of the same tenant that its order takes earlier; a pod on a machine of another
 * tenant, who had his turn before this one; or a pod that runs and would have been evicted.
 */
export function lostInVain(world: World, larger: World): string[] {
  const before = havingAPlace(world, plan(world));
  const planned = plan(larger);
  const after = havingAPlace(larger, planned);
  const gone = [...before].filter((key) => !after.has(key));
  if (gone.length === 0) return [];
  const owners: ReadonlyMap<string, string> = new Map(
    larger.tenants.flatMap(({ tenant, pods, nodes }) =>
      [...pods, ...nodes.flatMap((node) => node.pods ?? [])].map(({ key }) => [`${tenant} ${key}`, tenant] as const),
    ),
  );
  const running = new Set(runningIn(larger));
  const claimed: ReadonlySet<string> = new Set(
    planned.placements.filter((one) => one.planned).flatMap((one) => one.pods.map((key) => `${one.tenant} ${key}`)),
  );
  const ranks: ReadonlyMap<string, number> = new Map(
    new Planner(larger)
      .run()
      .flatMap(({ cluster }) =>
        cluster.demand.kinds.flatMap((kind, rank) => kind.keys.map((key) => [`${kind.tenant} ${key}`, rank] as const)),
      ),
  );
  const rank = (key: string) => ranks.get(key) ?? Number.POSITIVE_INFINITY;
  const hadTurn = turnsOf(larger, planned);
  const fresh = [...after].filter((key) => !before.has(key));
  return gone.filter((key) => {
    const mine = owners.get(key) ?? "";
    return !fresh.some((other) => {
      const owner = owners.get(other) ?? "";
      return running.has(other) || (owner === mine ? rank(other) < rank(key) : claimed.has(other) && hadTurn(owner, mine));
    });
  });
}

/** Whether one tenant got the last of its machines before it was another's turn, who has now what the plan gives him. */
function turnsOf(world: World, { claims }: Plan): (one: string, other: string) => boolean {
  const shares = new Shares(world);
  for (const { tenant, capacity } of claims) shares.opened(tenant, shares.measure(capacity));
  return (one, other) => {
    const last = claims.findLast(({ tenant }) => tenant === one);
    if (!last) return false;
    shares.closed(one, shares.measure(last.capacity));
    const first = shares.compare(one, other) < 0;
    shares.opened(one, shares.measure(last.capacity));
    return first;
  };
}

/** What is placed, and what runs and stays. */
function havingAPlace(world: World, { placements, actions = [] }: Plan): Set<string> {
  const evicted: ReadonlySet<string> = new Set(actions.flatMap((one) => one.pods.map((key) => `${one.from} ${key}`)));
  return new Set<string>([
    ...runningIn(world).filter((key) => !evicted.has(key)),
    ...placements.flatMap(({ tenant, pods }) => pods.map((key) => `${tenant} ${key}`)),
  ]);
}

function runningIn({ tenants }: World): string[] {
  return tenants.flatMap(({ tenant, nodes }) => nodes.flatMap((node) => (node.pods ?? []).map((pod) => `${tenant} ${pod.key}`)));
}

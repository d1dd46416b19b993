import type { Goal } from "./choose.ts";
import { refusal } from "./choose.ts";
import type { Carried, Cluster } from "./cluster.ts";
import { order } from "./order.ts";
import type { Offer } from "./outlet.ts";
import type { Site } from "./sites.ts";
import { failsOn } from "./terms.ts";

/**
 * What a pass opened, as the next pass finds it. A machine was chosen large, for all who still waited; now that it is
 * known who came, a smaller free one of the same pool and place will do.
 */
export function settled(cluster: Cluster, goal: Goal): Carried[] {
  return cluster.openings().flatMap(({ site, opening }) => {
    if (site.here.length === 0) {
      goal.fleet.giveBack(opening.offer.lot, opening.machine);
      return [];
    }
    const offer = opening.gang === undefined && !opening.settled ? smaller(cluster, site, goal) : undefined;
    const machine = offer && goal.fleet.take(offer.lot);
    if (!offer || !machine) return [{ demand: cluster.demand, opening: { ...opening, settled: true }, open: cluster.openOf(site) }];
    goal.fleet.giveBack(opening.offer.lot, opening.machine);
    return [{ demand: cluster.demand, opening: { ...opening, offer, machine, settled: true }, open: cluster.openOf(site) }];
  });
}

function smaller(cluster: Cluster, site: Site, goal: Goal): Offer | undefined {
  const { opening } = site;
  if (!opening || opening.outlet.byName) return undefined;
  const { outlet, pool, offer: mine } = opening;
  const kinds = [...new Set(site.here.map((one) => one.kind))];
  if (kinds.some((kind) => kind.needs.byName)) return undefined;
  const first = kinds[0];
  if (!first) return undefined;
  const width = mine.free.length;
  const row = site.index * cluster.sites.width;
  const used = mine.free.map((amount, column) => amount - (cluster.sites.free[row + column] as number));
  const possible = kinds.map((kind) => new Set(outlet.verdict(kind.needs).offers));
  let best: Offer | undefined;
  for (const offer of outlet.verdict(first.needs).offers) {
    goal.work.done += 1;
    if (offer === mine || offer.lot === mine.lot || (offer.open !== mine.open && !sameOpen(offer, mine))) continue;
    if (waste(offer, mine) >= 0 || (best && compare(offer, best) >= 0)) continue;
    if (!possible.every((one) => one.has(offer))) continue;
    if ((offer.lot.like.readyInS ?? 0) > (mine.lot.like.readyInS ?? 0)) continue;
    if ((offer.lot.like.failures?.count ?? 0) > (mine.lot.like.failures?.count ?? 0)) continue;
    let holds = true;
    for (let column = 0; column < width && holds; column += 1) holds = (used[column] as number) <= (offer.free[column] as number);
    if (!holds || !sameDomains(cluster, offer, mine) || !asLiked(kinds, offer, mine, goal)) continue;
    if (refusal(cluster, first, pool, outlet, offer, goal) !== undefined) continue;
    best = offer;
  }
  return best;
}

/** A domain that was counted stays what it is. */
function sameDomains(cluster: Cluster, one: Offer, other: Offer): boolean {
  return cluster.demand.topology.keys.every((key) => one.labels(key) === other.labels(key));
}

function sameOpen(one: Offer, other: Offer): boolean {
  return one.open.size === other.open.size && [...one.open].every(([key, set]) => other.open.get(key) === set);
}

function asLiked(kinds: readonly Site["here"][number]["kind"][], offer: Offer, mine: Offer, goal: Goal): boolean {
  if (goal.preferences === "ignore") return true;
  return kinds.every((kind) =>
    kind.needs.preferred.every(({ term }) => failsOn(mine.labels, term) !== undefined || failsOn(offer.labels, term) === undefined),
  );
}

function waste(a: Offer, b: Offer): number {
  const amount = (offer: Offer, name: string) => offer.lot.like.allocatable.get(name) ?? 0n;
  return (
    a.cost - b.cost ||
    a.accelerators - b.accelerators ||
    order(amount(a, "memory"), amount(b, "memory")) ||
    order(amount(a, "cpu"), amount(b, "cpu"))
  );
}

function compare(a: Offer, b: Offer): number {
  const name = (offer: Offer) => offer.lot.free[offer.lot.free.length - 1]?.name ?? offer.lot.like.name;
  return waste(a, b) || Number(b.carriesImage) - Number(a.carriesImage) || order(name(a), name(b));
}

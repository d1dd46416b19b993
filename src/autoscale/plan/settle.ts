import type { Goal } from "./choose.ts";
import { byFailures, isDirty, refusal } from "./choose.ts";
import type { Carried, Cluster } from "./cluster.ts";
import type { Offer } from "./outlet.ts";
import type { Site } from "./sites.ts";
import { failsOn } from "./terms.ts";

/**
 * What a pass opened, as the next pass finds it. A machine was chosen large, for all who still waited; now that it is
 * known who came, a smaller free one of the same pool and place will do.
 * @param keeping what nobody uses
 */
export function settled(cluster: Cluster, goal: Goal, keeping: boolean): Carried[] {
  return cluster.openings().flatMap(({ site, opening }) => {
    if (site.here.length === 0 && !keeping) {
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
  const row = site.index * cluster.sites.width;
  const used = mine.free.map((amount, column) => amount - (cluster.sites.free[row + column] as number));
  const verdicts = [...new Set(kinds.map((kind) => outlet.verdict(kind.needs)))];
  const [lead, ...others] = verdicts;
  const { tenant } = cluster.demand.world;
  let best: Offer | undefined;
  // they come in the order of their waste
  for (const offer of lead?.offers ?? []) {
    goal.work.done += 1;
    if (offer.rank >= mine.rank || (best && offer.rank > best.rank)) break;
    if (best && nameOf(offer) > nameOf(best)) continue;
    if (!fits(offer.free, used) || !sameOpen(offer, mine) || !others.every((one) => one.suits.has(offer))) continue;
    if ((offer.lot.like.readyInS ?? 0) > (mine.lot.like.readyInS ?? 0)) continue;
    if (isDirty(offer.lot.like, tenant) && !isDirty(mine.lot.like, tenant)) continue;
    if (byFailures(offer.lot.like, mine.lot.like) > 0) continue;
    if (!sameDomains(cluster, offer, mine) || !asLiked(kinds, offer, mine, goal)) continue;
    if (refusal(cluster, first, pool, outlet, offer, goal) !== undefined) continue;
    best = offer;
  }
  return best;
}

function fits(free: Float64Array, used: Float64Array): boolean {
  for (let column = 0; column < free.length; column += 1) if ((used[column] as number) > (free[column] as number)) return false;
  return true;
}

/** A domain that was counted stays what it is. */
function sameDomains(cluster: Cluster, one: Offer, other: Offer): boolean {
  return cluster.demand.topology.keys.every((key) => one.labels(key) === other.labels(key));
}

function sameOpen(one: Offer, other: Offer): boolean {
  if (one.open === other.open) return true;
  return one.open.size === other.open.size && [...one.open].every(([key, set]) => other.open.get(key) === set);
}

function asLiked(kinds: readonly Site["here"][number]["kind"][], offer: Offer, mine: Offer, goal: Goal): boolean {
  if (goal.preferences === "ignore") return true;
  return kinds.every((kind) =>
    kind.needs.preferred.every(({ term }) => failsOn(mine.labels, term) !== undefined || failsOn(offer.labels, term) === undefined),
  );
}

/** Of the machine that would be taken next. */
function nameOf({ lot }: Offer): string {
  return lot.free[lot.free.length - 1]?.name ?? lot.like.name;
}

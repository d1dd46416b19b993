import { timesIn } from "./amounts.ts";
import type { Cluster } from "./cluster.ts";
import type { Fleet } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import { NEW_HOST, type Neighbours } from "./neighbours.ts";
import { order } from "./order.ts";
import type { Offer, Outlet } from "./outlet.ts";
import type { Within } from "./placing.ts";
import type { Referee } from "./referee.ts";
import type { SiteClass } from "./sites.ts";
import type { Stage } from "./stages.ts";
import { steersAway } from "./taints.ts";
import { failsOn } from "./terms.ts";
import type { Counter } from "./topology.ts";
import type { MachineSupply, Policy, PoolWorld } from "./world.ts";

/** What a pass pursues besides the pods at hand. */
export interface Goal {
  readonly fleet: Fleet;
  readonly referee: Referee;
  /** The least waste comes before room for those who still wait. */
  readonly snug: boolean;
  readonly preferences: NonNullable<Policy["preferences"]>;
  readonly minValues: NonNullable<Policy["minValues"]>;
  readonly waitForWipeS: number;
  /** What a wipe takes, where nobody waits so long for one. */
  readonly longWipeS: number | undefined;
  readonly expendableBelow: number;
  /** What was looked at so far. */
  readonly work: { done: number };
  /** What pods that still wait ask for in all, by column: with or without accelerators. */
  waiting(kind: PodKind): Float64Array;
  placed(kind: PodKind, times: number): void;
  /** How many pods like these must follow the same counter, themselves included. */
  following(kind: PodKind, counter: Counter, left: number): number;
}

/** A machine to open. */
export interface Choice {
  readonly pool: PoolWorld;
  readonly outlet: Outlet;
  readonly offer: Offer;
  /** For pods or pools that name machines. */
  readonly willDo?: (machine: MachineSupply) => boolean;
}

export interface Openable {
  readonly pool: PoolWorld;
  readonly outlet: Outlet;
  readonly offer: Offer;
}

/** What could be opened for a kind now, whatever its neighbours say. */
export function openable(cluster: Cluster, kind: PodKind, goal: Goal, within?: Within): readonly Openable[] {
  if (kind.priority < goal.expendableBelow) return [];
  if (within || kind.needs.byName) return openableNow(cluster, kind, goal, within);
  const key = `${kind.needs.place} ${kind.priority} ${kind.maxRuntimeS ?? ""}`;
  const known = cluster.openable;
  if (known.version !== goal.fleet.version) {
    known.version = goal.fleet.version;
    known.lists.clear();
  }
  let list = known.lists.get(key);
  if (!list) {
    list = openableNow(cluster, kind, goal);
    known.lists.set(key, list);
  }
  return list;
}

function openableNow(cluster: Cluster, kind: PodKind, goal: Goal, within?: Within): Openable[] {
  const all: Openable[] = [];
  for (const { pool, outlet } of cluster.demand.outlets) {
    if (pool.problem !== undefined || pool.replicas !== undefined) continue;
    for (const offer of outlet.verdict(kind.needs).offers) {
      goal.work.done += 1;
      if (refusal(cluster, kind, pool, outlet, offer, goal) !== undefined) continue;
      if (within && !within(offer.labels)) continue;
      all.push({ pool, outlet, offer });
    }
  }
  return all;
}

/** Why a machine of a lot cannot be opened for a kind now, apart from its neighbours. */
export function refusal(cluster: Cluster, kind: PodKind, pool: PoolWorld, outlet: Outlet, offer: Offer, goal: Goal): string | undefined {
  const { lot } = offer;
  const { like } = lot;
  if (like.unavailable !== undefined) return like.unavailable;
  if (goal.fleet.available(lot, 1) === 0) return "in use";
  if (like.readyInS !== undefined && like.readyInS > goal.waitForWipeS) return `on its way out, free in ${like.readyInS} s`;
  if (goal.longWipeS !== undefined && isDirty(like, cluster.demand.world.tenant)) return `not wiped yet, free in ${goal.longWipeS} s`;
  const limit = cluster.limit(pool, like);
  if (limit !== undefined) return `over the pool's limit of ${limit}`;
  if ((outlet.byName || kind.needs.byName) && !lot.endless && !lot.free.some((one) => outlet.allows(kind.needs, one, offer)))
    return "not one it names";
  return goal.referee.refuses(cluster, lot, kind) ?? tooFew(kind, outlet, goal);
}

/** The key of which the free machines that would do have fewer values than the pool's `minValues`. */
function tooFew({ needs }: PodKind, outlet: Outlet, goal: Goal): string | undefined {
  if (goal.minValues === "BestEffort") return undefined;
  keys: for (const { key, count } of outlet.fewest) {
    const values = new Set<string>();
    for (const { lot, labels } of outlet.verdict(needs).offers) {
      const value = labels(key);
      if (typeof value === "object" && value.complement) continue keys;
      if (lot.like.unavailable !== undefined || goal.fleet.available(lot, 1) === 0) continue;
      for (const one of typeof value === "string" ? [value] : (value?.values ?? [])) values.add(one);
    }
    if (values.size < count) return `minValues: ${values.size} of ${count} values of ${key} to choose from`;
  }
  return undefined;
}

/** Whether another tenant wrote to it since its last wipe: it is installed only after the next. */
export function isDirty(machine: MachineSupply, tenant: string): boolean {
  return machine.lastTenant !== undefined && machine.lastTenant !== tenant;
}

/** What a wipe takes, where it is longer than anybody waits for one. */
export function longWipe({ wipeS, waitForWipeS }: Policy): number | undefined {
  return wipeS !== undefined && waitForWipeS !== undefined && wipeS > waitForWipeS ? wipeS : undefined;
}

/** After the first failure a machine is left alone for so long, after each further one for twice that, up to the most. */
const BACKOFF_S = 300;
const MOST_BACKOFF_S = 1_800;

/** How long a machine that failed should still be left alone: it is tried before then only for want of another. */
function backoffS({ failures }: MachineSupply): number {
  if (!failures) return 0;
  return Math.max(0, Math.min(MOST_BACKOFF_S, BACKOFF_S * 2 ** (failures.count - 1)) - failures.sinceS);
}

/** Which of two machines to try first, for how they failed lately: the sooner rested, the fewer failures, the longer ago. */
export function byFailures(a: MachineSupply, b: MachineSupply): number {
  return (
    backoffS(a) - backoffS(b) ||
    (a.failures?.count ?? 0) - (b.failures?.count ?? 0) ||
    (b.failures?.sinceS ?? 0) - (a.failures?.sinceS ?? 0)
  );
}

/** The machine to open: of the heaviest pool that has one, that which serves the most of the pods with the least waste. */
export function choose(
  cluster: Cluster,
  kind: PodKind,
  count: number,
  stage: Stage,
  neighbours: Neighbours,
  goal: Goal,
  within?: Within,
): Choice | undefined {
  const { request } = kind;
  if (!request || kind.priority < goal.expendableBelow) return undefined;
  const { tolerations } = kind.needs.source;
  const outlets = [...cluster.demand.outlets].sort(
    (a, b) => Number(steersAway(a.pool.taints, tolerations)) - Number(steersAway(b.pool.taints, tolerations)),
  );
  const rating = new Rating(cluster, kind, goal);
  const minding = !neighbours.free || cluster.demand.topology.keys.length > 0;
  for (const { pool, outlet } of outlets) {
    if (pool.problem !== undefined || pool.replicas !== undefined) continue;
    if (stage.avoids && steersAway(pool.taints, tolerations)) continue;
    let best: Rated | undefined;
    for (const offer of outlet.verdict(kind.needs).offers) {
      goal.work.done += 1;
      if (goal.fleet.available(offer.lot, 1) === 0) continue;
      if (stage.prefers && failsOn(offer.labels, stage.prefers) !== undefined) continue;
      if (within && !within(offer.labels)) continue;
      const place = minding ? cluster.demand.classOf(offer, outlet, cluster.demand.openOf(offer)) : undefined;
      const cap = place && !neighbours.free ? neighbours.cap(place, NEW_HOST) : Number.POSITIVE_INFINITY;
      if (cap <= 0) continue;
      const fits = timesIn(offer.free, 0, request, kind.oneEach ? 1 : Math.min(count, cap));
      if (fits === 0 || (best && fits < best.fits && !rating.ordered && isSound(best.offer))) continue;
      const rated = rating.rate(offer, fits, place, neighbours);
      // whether it may be taken is asked last: of most it need not be asked at all
      if (best && rating.compare(rated, best) >= 0) continue;
      if (refusal(cluster, kind, pool, outlet, offer, goal) === undefined) best = rated;
    }
    if (best) {
      const { offer } = best;
      const names = outlet.byName || kind.needs.byName;
      return { pool, outlet, offer, ...(names ? { willDo: (machine: MachineSupply) => outlet.allows(kind.needs, machine, offer) } : {}) };
    }
  }
  return undefined;
}

/** Whether nothing comes before how many pods it holds. */
function isSound({ lot: { like } }: Offer): boolean {
  return like.lastTenant === undefined && like.readyInS === undefined && like.failures === undefined;
}

interface Rated {
  readonly offer: Offer;
  readonly fits: number;
  /** Pods that a spread counts in its domains. */
  readonly crowd: number;
  readonly wish: number;
  readonly place: SiteClass | undefined;
  serves: number;
}

/**
 * Free before on its way out or not wiped yet, sound before what failed lately; then fewest servers, what is preferred, the emptiest
 * domain, no accelerators for who wants none, room for those who still wait; then least waste, the domain with the
 * fewest nodes, and by name.
 */
class Rating {
  private readonly kind: PodKind;
  private readonly waiting: Float64Array;
  readonly ordered: boolean;
  private readonly wishes: boolean;
  private readonly snug: boolean;
  private readonly cluster: Cluster;

  constructor(cluster: Cluster, kind: PodKind, goal: Goal) {
    this.snug = goal.snug;
    this.cluster = cluster;
    this.kind = kind;
    this.ordered = kind.needs.terms.length > 1 && goal.preferences === "respect";
    this.wishes = kind.needs.preferred.length > 0 && goal.preferences !== "ignore";
    this.waiting = goal.waiting(kind);
  }

  rate(offer: Offer, fits: number, place: SiteClass | undefined, neighbours: Neighbours): Rated {
    return {
      offer,
      fits,
      crowd: place && !neighbours.free ? neighbours.crowd(place) : 0,
      wish: this.wishes ? this.wish(offer) : 0,
      place,
      serves: -1,
    };
  }

  compare(a: Rated, b: Rated): number {
    const one = a.offer.lot.like;
    const other = b.offer.lot.like;
    const { tenant } = this.cluster.demand.world;
    return (
      Number(isDirty(one, tenant)) - Number(isDirty(other, tenant)) ||
      (one.readyInS ?? 0) - (other.readyInS ?? 0) ||
      byFailures(one, other) ||
      (this.ordered ? this.term(a.offer) - this.term(b.offer) : 0) ||
      b.fits - a.fits ||
      b.wish - a.wish ||
      a.crowd - b.crowd ||
      (this.kind.needs.accelerators === 0 ? a.offer.accelerators - b.offer.accelerators : 0) ||
      (this.snug ? 0 : this.serves(b) - this.serves(a)) ||
      a.offer.rank - b.offer.rank ||
      this.company(a) - this.company(b) ||
      order(nameOf(a.offer), nameOf(b.offer))
    );
  }

  /** Which of a pod's alternatives it meets: earlier ones first, where preferences are respected. */
  private term(offer: Offer): number {
    return this.kind.needs.terms.findIndex((term) => failsOn(offer.labels, term) === undefined);
  }

  private wish(offer: Offer): number {
    let sum = 0;
    for (const { weight, term } of this.kind.needs.preferred) if (failsOn(offer.labels, term) === undefined) sum += weight;
    return sum;
  }

  /** Places the tenant has in its domains already. */
  private company({ place }: Rated): number {
    return place ? this.cluster.sites.crowd(place) : 0;
  }

  /** The part of all that still waits for which there would be room, 1 at most. */
  private serves(rated: Rated): number {
    if (rated.serves >= 0) return rated.serves;
    const { free } = rated.offer;
    let part = 1;
    for (let column = 0; column < free.length; column += 1) {
      const wanted = this.waiting[column] as number;
      if (wanted > 0 && (free[column] as number) < part * wanted) part = (free[column] as number) / wanted;
    }
    rated.serves = part;
    return part;
  }
}

/** Of the machine that would be taken next. */
function nameOf({ lot }: Offer): string {
  return lot.free[lot.free.length - 1]?.name ?? lot.like.name;
}

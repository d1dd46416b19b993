import type { Openable } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { PodKind } from "./kinds.ts";
import type { SiteClass } from "./sites.ts";
import type { Stage } from "./stages.ts";
import { type Counter, countOf, type SpreadRule } from "./topology.ts";

/** A place that does not exist yet: a host of its own. */
export const NEW_HOST = -1;

/** The emptiest domains of a spread. */
interface Floor {
  readonly rule: SpreadRule;
  readonly domains: ReadonlySet<number>;
  least: number;
  /** How many domains have it. */
  ties: number;
  /** The least of the others. */
  next: number;
}

/** What the neighbours of a kind of pods allow, at one stage: how many more may go to a place now. */
export class Neighbours {
  /** Nothing of this depends on neighbours. */
  readonly free: boolean;
  private readonly kind: PodKind;
  private readonly stage: Stage;
  private readonly floors: readonly Floor[];
  /** Where pods that follow nobody but themselves begin: the domain of each level. */
  private readonly begin = new Map<Counter, number>();
  /** Of pods that follow pods which are nowhere. */
  readonly lost: boolean;

  constructor(cluster: Cluster, kind: PodKind, stage: Stage, offers: readonly Openable[]) {
    this.kind = kind;
    this.stage = stage;
    this.free = stage.spread.length + stage.affinity.length + stage.anti.length + kind.rules.repelledBy.length === 0;
    this.lost = stage.affinity.some((rule) => rule.counter.total === 0 && !rule.self);
    this.floors = stage.spread.map((rule) => ({
      rule,
      domains: domainsOf(cluster, rule.counter, stage, offers),
      least: 0,
      ties: 0,
      next: 0,
    }));
    this.refresh();
  }

  /** To be called after pods of the kind were placed. */
  refresh(): void {
    for (const floor of this.floors) {
      const { counter, minDomains } = floor.rule;
      floor.least = Number.POSITIVE_INFINITY;
      floor.next = Number.POSITIVE_INFINITY;
      floor.ties = 0;
      for (const domain of floor.domains) {
        const has = countOf(counter, domain);
        if (has < floor.least) {
          floor.next = floor.least;
          floor.least = has;
          floor.ties = 1;
        } else if (has === floor.least) floor.ties += 1;
        else if (has < floor.next) floor.next = has;
      }
      const few = floor.domains.size < minDomains || (counter.level < 0 && !this.stage.hostsAreAll);
      if (few) {
        floor.least = 0;
        floor.next = 0;
        floor.ties = 2;
      }
    }
  }

  /** Pods that may begin anywhere begin there. */
  beginAt(counter: Counter, domain: number): void {
    this.begin.set(counter, domain);
  }

  /** How many more pods of the kind its neighbours allow in a place. @param index of the site, or {@link NEW_HOST} */
  cap(place: SiteClass, index: number): number {
    if (this.free) return Number.POSITIVE_INFINITY;
    let cap = Number.POSITIVE_INFINITY;
    for (const counter of this.kind.rules.repelledBy) {
      const domain = domainOf(counter, place, index);
      if (domain >= 0 && countOf(counter, domain) > 0) return 0;
    }
    for (const { counter, self } of this.stage.anti) {
      const domain = domainOf(counter, place, index);
      if (domain >= 0 && countOf(counter, domain) > 0) return 0;
      if (self && (domain >= 0 || counter.level < 0)) cap = 1;
    }
    for (const { counter, self } of this.stage.affinity) {
      const domain = domainOf(counter, place, index);
      if (domain < 0 && counter.level >= 0) return 0;
      if (counter.total === 0 && self) {
        const begin = this.begin.get(counter);
        if (begin !== undefined && begin !== domain) return 0;
      } else if (domain < 0 || countOf(counter, domain) === 0) return 0;
    }
    for (const floor of this.floors) {
      cap = Math.min(cap, underSkew(floor, domainOf(floor.rule.counter, place, index)));
      if (cap <= 0) return 0;
    }
    return cap;
  }

  /** How crowded a place's domains are, for the choice among several that are allowed. */
  crowd(place: SiteClass): number {
    let sum = 0;
    for (const { rule } of this.floors) {
      const domain = domainOf(rule.counter, place, NEW_HOST);
      if (domain >= 0) sum += countOf(rule.counter, domain);
    }
    return sum;
  }

  /** What keeps the kind out of a place, for people. */
  why(place: SiteClass, index: number): string {
    for (const counter of this.kind.rules.repelledBy) {
      const domain = domainOf(counter, place, index);
      if (domain >= 0 && countOf(counter, domain) > 0) return `the anti-affinity of other pods keeps it away (${counter.key})`;
    }
    for (const { counter } of this.stage.anti) {
      const domain = domainOf(counter, place, index);
      if (domain >= 0 && countOf(counter, domain) > 0) return `its anti-affinity: such a pod is in that ${counter.key} already`;
    }
    for (const { counter } of this.stage.affinity) {
      const domain = domainOf(counter, place, index);
      if (domain < 0 && counter.level >= 0) return `has no ${counter.key}`;
      if (domain < 0 || countOf(counter, domain) === 0) return `its pod affinity: no such pod in that ${counter.key}`;
    }
    for (const floor of this.floors) {
      const domain = domainOf(floor.rule.counter, place, index);
      if (underSkew(floor, domain) <= 0)
        return domain < 0
          ? `has no ${floor.rule.counter.key}`
          : `its topology spread over ${floor.rule.counter.key} (skew ${floor.rule.maxSkew}) allows no more there`;
    }
    return "its neighbours do not allow it";
  }
}

function underSkew(floor: Floor, domain: number): number {
  const { counter, maxSkew, self } = floor.rule;
  if (domain < 0 && counter.level >= 0) return 0;
  const has = domain < 0 ? 0 : countOf(counter, domain);
  // the last of the emptiest may fill up to the next, and beyond it by the skew
  const least = domain >= 0 && floor.ties === 1 && has === floor.least && floor.domains.has(domain) ? floor.next : floor.least;
  if (self) return least + maxSkew - has;
  return has - floor.least <= maxSkew ? Number.POSITIVE_INFINITY : 0;
}

export function domainOf(counter: Counter, place: SiteClass, index: number): number {
  return counter.level < 0 ? index : (place.domains[counter.level] ?? -1);
}

/** Where a spread looks: the domains of nodes that count, and of machines that could become such nodes now. */
function domainsOf(cluster: Cluster, counter: Counter, stage: Stage, offers: readonly Openable[]): ReadonlySet<number> {
  if (counter.level >= 0 && offers.length > 0) {
    const key = `${counter.level} ${counter.among?.id ?? ""}`;
    const known = looked.get(offers) ?? new Map<string, ReadonlySet<number>>();
    looked.set(offers, known);
    const domains = known.get(key) ?? domainsNow(cluster, counter, stage, offers);
    known.set(key, domains);
    return domains;
  }
  return domainsNow(cluster, counter, stage, offers);
}

function domainsNow(cluster: Cluster, counter: Counter, stage: Stage, offers: readonly Openable[]): ReadonlySet<number> {
  const domains = new Set<number>();
  if (counter.level < 0) {
    if (stage.hostsAreAll) for (const site of cluster.sites.all) if (cluster.counts(site, counter.among)) domains.add(site.index);
    return domains;
  }
  const { level, among } = counter;
  const add = (place: SiteClass, counts: boolean) => {
    const domain = place.domains[level] ?? -1;
    if (domain >= 0 && counts) domains.add(domain);
  };
  if (among?.needs.byName) for (const site of cluster.sites.all) add(site.kind, cluster.counts(site, among));
  else for (const place of cluster.demand.places()) if (place.sites > 0) add(place, place.counts(among));
  for (const { outlet, offer } of offers) {
    const place = cluster.demand.classOf(offer, outlet, cluster.demand.openOf(offer));
    add(place, place.counts(among));
  }
  return domains;
}

/** Domains by what could be opened: such a list stands as long as no machine is taken, and so do the tenant's places. */
const looked = new WeakMap<readonly Openable[], Map<string, ReadonlySet<number>>>();

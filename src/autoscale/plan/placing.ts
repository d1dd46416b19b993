import { timesIn } from "./amounts.ts";
import { type Choice, choose, type Goal, openable } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { PodKind } from "./kinds.ts";
import { domainOf, NEW_HOST, Neighbours } from "./neighbours.ts";
import type { Site, SiteClass } from "./sites.ts";
import { type Stage, stagesOf } from "./stages.ts";
import { failsOn, type Labels } from "./terms.ts";
import type { Counter } from "./topology.ts";

/** Where pods may go, for who looks in one rack only: told by the labels of a node. */
export type Within = (labels: Labels) => boolean;

/** The pods of one kind on their way to places: what is there first, then machine by machine. */
export class Placing {
  readonly kind: PodKind;
  /** How many of its pods have a place. */
  placed = 0;
  private readonly cluster: Cluster;
  private readonly goal: Goal;
  private readonly stages: readonly Stage[];
  private readonly most: number;
  private readonly within: Within | undefined;
  /** Pods of the kind that were placed before. */
  readonly skip: number;
  private stage = 0;
  /** Places of this stage that may take more once others have. */
  private open: readonly Site[] = [];
  /** How many of the cluster's places this stage has looked at. */
  private seen = 0;

  /** @param skip pods of the kind that are placed already @param most of those after them */
  constructor(
    cluster: Cluster,
    kind: PodKind,
    goal: Goal,
    part: { readonly skip?: number; readonly most?: number; readonly within?: Within } = {},
  ) {
    this.cluster = cluster;
    this.kind = kind;
    this.goal = goal;
    this.skip = part.skip ?? 0;
    this.most = Math.min(part.most ?? Number.POSITIVE_INFINITY, kind.pods.length - this.skip);
    this.within = part.within;
    this.stages = stagesOf(kind, goal.preferences, cluster.demand.steering);
  }

  get left(): number {
    return this.most - this.placed;
  }

  /** Fills what there is and says which machine to open next; undefined when all are placed or nothing more can be done. */
  next(): Choice | undefined {
    for (; this.left > 0 && this.kind.request; this.advance()) {
      this.goal.work.done += 1;
      const stage = this.stages[this.stage];
      if (!stage) return undefined;
      const offers = needsOffers(stage, this.kind) ? openable(this.cluster, this.kind, this.goal, this.within) : [];
      const neighbours = new Neighbours(this.cluster, this.kind, stage, offers);
      if (neighbours.lost) continue;
      this.begin(stage, neighbours, offers);
      this.fill(stage, neighbours);
      if (this.left === 0) return undefined;
      if (!stage.opens) continue;
      const choice = choose(this.cluster, this.kind, this.left, stage, neighbours, this.goal, this.within);
      if (choice) return choice;
    }
    return undefined;
  }

  private advance(): void {
    this.stage += 1;
    this.open = [];
    this.seen = 0;
  }

  /** Puts pods on places there are, until no more go. Places that took all they can at this stage are not tried again. */
  private fill(stage: Stage, neighbours: Neighbours): void {
    const again = stage.spread.length > 0 || stage.affinity.length > 0;
    let rest: Site[] = [];
    const { rules } = this.kind;
    const cost = stage.spread.length + stage.affinity.length + stage.anti.length + rules.repelledBy.length;
    const visit = (site: Site) => {
      this.goal.work.done += cost;
      const room = this.cluster.room(this.kind, site, this.left);
      if (room === 0) return;
      const most = neighbours.free ? room : Math.min(room, neighbours.cap(site.kind, site.index));
      if (most > 0) {
        this.put(site, most);
        if (!neighbours.free) neighbours.refresh();
      }
      if (again && most < room) rest.push(site);
    };
    // each sweep raises the emptiest domains, which lets the others take more
    for (let before = -1; this.left > 0 && before !== this.placed; ) {
      before = this.placed;
      const known = this.open;
      rest = [];
      this.goal.work.done += known.length;
      for (let n = 0; n < known.length && this.left > 0; n += 1) visit(known[n] as Site);
      this.lookAtMore(stage, visit);
      this.open = rest;
    }
  }

  /** Visits the places this stage has not looked at yet, as far as labels, taints and room go, while pods are left. */
  private lookAtMore(stage: Stage, visit: (site: Site) => void): void {
    const { cluster, kind, goal } = this;
    const { request } = kind;
    const { all } = cluster.sites;
    if (!request || this.seen === all.length) return;
    const allowed = new Map<SiteClass, boolean>();
    const look = (site: Site) => {
      let fits = allowed.get(site.kind);
      if (fits === undefined) {
        fits = this.allows(stage, site.kind);
        allowed.set(site.kind, fits);
      }
      if (fits) visit(site);
    };
    if (this.seen > 0) {
      goal.work.done += all.length - this.seen;
      for (let index = this.seen; index < all.length && this.left > 0; index += 1) {
        const site = all[index] as Site;
        if (cluster.sites.room(index, request, 1) > 0) look(site);
      }
    } else {
      for (const list of cluster.inOrder(kind)) {
        for (let n = cluster.firstWithRoom(kind.needs, request, list); n < list.length && this.left > 0; n += 1) {
          goal.work.done += 1;
          const site = list[n] as Site;
          if (cluster.sites.room(site.index, request, 1) > 0) look(site);
        }
      }
    }
    this.seen = all.length;
  }

  private put(site: Site, times: number): void {
    if (times <= 0) return;
    const from = this.skip + this.placed;
    this.cluster.put(this.kind, site, this.kind.keys.slice(from, from + times));
    this.placed += times;
    this.goal.placed(this.kind, times);
  }

  private allows(stage: Stage, place: SiteClass): boolean {
    if (!place.suits(this.kind.needs)) return false;
    if (stage.avoids && place.steersAway(this.kind.needs.source.tolerations)) return false;
    if (stage.prefers && failsOn(place.labels, stage.prefers) !== undefined) return false;
    return this.within?.(place.labels) ?? true;
  }

  /** Pods that follow their own like begin in the domain that holds them all: the fewest new machines, then the roomiest, since more of them come. */
  private begin(stage: Stage, neighbours: Neighbours, offers: ReturnType<typeof openable>): void {
    const starting = stage.affinity.filter((rule) => rule.self && rule.counter.total === 0).map((rule) => rule.counter);
    if (starting.length === 0) return;
    const wanted = this.goal.following(this.kind, starting[0] as Counter, this.left);
    const seats = new Map<string, { there: number; opened: number; most: number; machines: number; place: SiteClass; index: number }>();
    const seat = (place: SiteClass, index: number) => {
      const key = starting.map((counter) => domainOf(counter, place, index)).join();
      let one = seats.get(key);
      if (!one) {
        one = { there: 0, opened: 0, most: 0, machines: 0, place, index };
        seats.set(key, one);
      }
      return one;
    };
    for (const site of this.cluster.sites.all) {
      this.goal.work.done += 1;
      if (!this.allows(stage, site.kind) || neighbours.cap(site.kind, site.index) <= 0) continue;
      const room = this.cluster.room(this.kind, site, wanted);
      if (room > 0) seat(site.kind, site.index).there += room;
    }
    const hosts = starting.some((counter) => counter.level < 0);
    for (const { outlet, offer } of stage.opens ? offers : []) {
      const place = this.cluster.demand.classOf(offer, outlet, this.cluster.demand.openOf(offer));
      if (!this.kind.request || !this.allows(stage, place) || neighbours.cap(place, NEW_HOST) <= 0) continue;
      const fits = this.kind.oneEach ? 1 : timesIn(offer.free, 0, this.kind.request, wanted);
      const one = seat(place, NEW_HOST);
      const machines = this.goal.fleet.available(offer.lot, Math.ceil(wanted / Math.max(1, fits)));
      if (hosts) one.opened = Math.max(one.opened, fits);
      else one.opened += fits * machines;
      one.most = Math.max(one.most, fits);
      one.machines += machines;
    }
    let best: { key: string; fits: number; buys: number; spare: number } | undefined;
    for (const one of seats.values()) {
      const fits = Math.min(wanted, one.there + one.opened);
      const buys = one.most === 0 ? 0 : Math.ceil(Math.max(0, fits - one.there) / one.most);
      const spare = one.there + one.opened;
      const name = `${starting.map((counter) => nameOf(this.cluster, counter, one.place, one.index)).join()}`;
      const better =
        !best ||
        fits > best.fits ||
        (fits === best.fits &&
          (buys < best.buys || (buys === best.buys && (spare > best.spare || (spare === best.spare && name < best.key)))));
      if (better) {
        best = { key: name, fits, buys, spare };
        for (const counter of starting) neighbours.beginAt(counter, domainOf(counter, one.place, one.index));
      }
    }
  }
}

function nameOf(cluster: Cluster, counter: Counter, place: SiteClass, index: number): string {
  if (counter.level >= 0) return cluster.demand.topology.domainName(counter.level, domainOf(counter, place, index));
  return index === NEW_HOST ? "" : (cluster.sites.all[index]?.name ?? "");
}

/** Whether what could be opened matters before anything is: for the domains of a spread, and for where to begin. */
function needsOffers(stage: Stage, kind: PodKind): boolean {
  return (
    stage.spread.some((rule) => rule.counter.level >= 0) ||
    stage.affinity.some((rule) => rule.self && rule.counter.total === 0 && kind.pods.length > 0)
  );
}

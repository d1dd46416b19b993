import { add, type Resources, timesFitting } from "../../core/quantity.ts";
import type { Requirements } from "../../core/requirements.ts";
import { order, type PodKind } from "./kinds.ts";
import { charge, type Offer, overLimit } from "./offer.ts";
import { Site, siteOrder } from "./site.ts";
import { steersAway } from "./taints.ts";
import type { TenantDemand } from "./tenant.ts";
import type { MachineSupply, Placement, PoolWorld } from "./world.ts";

/** A claim that an earlier pass opened. */
export interface Opened {
  readonly demand: TenantDemand;
  readonly offer: Offer;
  readonly offered: Requirements;
}

/** One tenant's part of a pass over the world. */
export class Turn {
  readonly demand: TenantDemand;
  readonly name: string;
  /** Machines the tenant has or gets. */
  held: number;
  readonly left = new Map<PodKind, readonly string[]>();
  private readonly sites: Site[];
  private readonly usage = new Map<string, Resources>();
  private at = 0;
  private waiting: string[] | undefined;

  constructor(demand: TenantDemand, opened: readonly Opened[]) {
    const { world } = demand;
    this.demand = demand;
    this.name = world.tenant;
    const mine = opened.map((one, nth) => ({ ...one, nth })).filter((one) => one.demand === demand);
    this.held = world.nodes.length + mine.length;
    this.sites = [
      ...world.nodes.filter((node) => !node.leaving).map((node) => Site.ofNode(node, world.daemons)),
      ...mine.map((one) => Site.ofOffer(one.offer, one.nth, one.offered)),
    ];
    for (const node of world.nodes) if (node.pool !== undefined) this.charge(node.pool, node.capacity);
    for (const one of mine) this.charge(one.offer.pool.name, one.offer.machine.capacity);
  }

  hasWork(): boolean {
    return this.at < this.demand.kinds.length;
  }

  /** Goes on with the kind at hand and opens at most one machine, whose name it returns. */
  step(taken: ReadonlySet<string>, nth: number): string | undefined {
    const kind = this.demand.kinds[this.at];
    if (!kind) return undefined;
    const waiting = this.waiting ?? this.fillSites(kind);
    const offer = waiting.length > 0 ? this.choose(kind, waiting.length, taken) : undefined;
    const rest = offer ? this.fill(this.open(offer, nth), kind, waiting) : waiting;
    if (offer && rest.length > 0) {
      this.waiting = rest;
    } else {
      if (rest.length > 0) this.left.set(kind, rest);
      this.waiting = undefined;
      this.at += 1;
    }
    return offer?.machine.name;
  }

  private open(offer: Offer, nth: number): Site {
    const site = Site.ofOffer(offer, nth);
    this.sites.push(site);
    this.charge(offer.pool.name, offer.machine.capacity);
    this.held += 1;
    return site;
  }

  private fillSites(kind: PodKind): string[] {
    let waiting = kind.pods.map((pod) => pod.key);
    for (const site of [...this.sites].sort(siteOrder(kind))) {
      if (waiting.length === 0) break;
      waiting = this.fill(site, kind, waiting);
    }
    return waiting;
  }

  private fill(site: Site, kind: PodKind, waiting: string[]): string[] {
    const room = site.room(kind, waiting.length);
    if (room > 0) site.take(kind, waiting.slice(0, room));
    return waiting.slice(room);
  }

  /** The machine to open: of the heaviest pool that has one, that which serves the most of the pods with the least waste. */
  private choose(kind: PodKind, count: number, taken: ReadonlySet<string>): Offer | undefined {
    const steers = (pool: PoolWorld) => Number(steersAway(pool.taints, kind.needs.tolerations));
    const better = byWaste(kind, count);
    for (const pool of [...this.demand.pools].sort((a, b) => steers(a) - steers(b))) {
      if (pool.problem !== undefined) continue;
      let best: Offer | undefined;
      for (const offer of this.demand.suitable(kind, pool)) {
        const { machine } = offer;
        if (machine.unavailable !== undefined || taken.has(machine.name) || this.limit(pool, machine) !== undefined) continue;
        if (!best || better(offer, best) < 0) best = offer;
      }
      if (best) return best;
    }
    return undefined;
  }

  /** The limit of a pool that one more machine would exceed. */
  limit(pool: PoolWorld, machine: MachineSupply): string | undefined {
    if (pool.limits.size === 0) return undefined;
    return overLimit(pool.limits, this.usage.get(pool.name) ?? new Map(), charge(machine.capacity));
  }

  private charge(pool: string, capacity: Resources): void {
    this.usage.set(pool, add(this.usage.get(pool) ?? new Map(), charge(capacity)));
  }

  openSites(): { readonly site: Site; readonly offer: Offer }[] {
    return this.sites.flatMap((site) => (site.offer ? [{ site, offer: site.offer }] : []));
  }

  placements(): Placement[] {
    return this.sites
      .filter((site) => site.pods.length > 0)
      .map((site) => ({ tenant: this.name, node: site.name, planned: site.offer !== undefined, pods: site.pods }))
      .sort((a, b) => order(a.node, b.node));
  }
}

/**
 * Fewest servers, then least waste: who takes more of the pods; has fewer accelerators; carries the image already;
 * has less memory, less cpu; and by name.
 */
function byWaste(kind: PodKind, count: number): (a: Offer, b: Offer) => number {
  const most = kind.needs.hostPorts.length > 0 ? 1 : count;
  const fits = (offer: Offer) => timesFitting(offer.free, kind.needs.requests, most);
  const warm = (offer: Offer) =>
    Number(offer.machine.imageSha256 !== undefined && offer.machine.imageSha256 === offer.pool.machineClass.image?.sha256);
  const amount = (offer: Offer, name: string) => offer.machine.allocatable.get(name) ?? 0n;
  return (a, b) =>
    fits(b) - fits(a) ||
    order(a.accelerators, b.accelerators) ||
    warm(b) - warm(a) ||
    order(amount(a, "memory"), amount(b, "memory")) ||
    order(amount(a, "cpu"), amount(b, "cpu")) ||
    order(a.machine.name, b.machine.name);
}

import { ONE, type Resources } from "../../core/quantity.ts";
import { intersectValues, type Requirements } from "../../core/requirements.ts";
import type { Request } from "./amounts.ts";
import type { Openable } from "./choose.ts";
import type { Demand } from "./demand.ts";
import type { Fleet } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import type { Needs } from "./needs.ts";
import { named } from "./outlet.ts";
import { type Opening, type Site, type SiteClass, Sites } from "./sites.ts";
import { portsConflict } from "./taints.ts";
import { failsOn, type Labels } from "./terms.ts";
import { count, type NodeFilter } from "./topology.ts";
import type { MachineSupply, PoolWorld, RunningPod } from "./world.ts";

/** A claim that an earlier pass opened. */
export interface Carried {
  readonly demand: Demand;
  readonly opening: Opening;
  /** What is left open of its labels. */
  readonly open: Requirements;
}

type Change =
  | { readonly did: "put"; readonly site: Site; readonly kind: PodKind; readonly times: number; readonly ports: Site["ports"] }
  | { readonly did: "narrow"; readonly site: Site; readonly before: SiteClass; readonly open: Requirements }
  | { readonly did: "open"; readonly site: Site; readonly opening: Opening }
  | { readonly did: "lift"; readonly site: Site; readonly kind: PodKind; readonly times: number; readonly here: Site["here"] }
  | { readonly did: "evict"; readonly site: Site; readonly pods: readonly RunningPod[] };

/**
 * One tenant's places during a pass: nodes, claims opened so far, what is on them. All changes are remembered, so that
 * what turns out not to fit can be taken back: `mark`, try, `rollback`.
 */
export class Cluster {
  readonly demand: Demand;
  readonly sites: Sites;
  /** A gang that comes next goes beyond what the tenant owns: others who own come before it. */
  borrows = false;
  /** What could be opened, by needs; as of one moment of the fleet. */
  readonly openable = { version: -1, lists: new Map<string, readonly Openable[]>() };
  private readonly fleet: Fleet;
  private readonly opens = new Map<number, Requirements>();
  private readonly usage = new Map<string, Map<string, bigint>>();
  private readonly upPlain: Site[] = [];
  private readonly upAccelerated: Site[] = [];
  private readonly comingPlain: Site[] = [];
  private readonly comingAccelerated: Site[] = [];
  private readonly changes: Change[] = [];
  /** By list of places and needs: how many places from the beginning are full. */
  private readonly starts = new Map<readonly Site[], Map<number, number>>();

  constructor(demand: Demand, carried: readonly Carried[], fleet: Fleet) {
    this.demand = demand;
    this.fleet = fleet;
    demand.reset();
    this.sites = new Sites(demand.columns.count);
    for (const ready of demand.nodes) {
      const { kind, rank, accelerated, maxRuntimeS, labels, ports, node } = ready;
      const site = this.sites.add({ name: node.name, kind, opening: undefined, rank, accelerated, maxRuntimeS, labels, ports }, ready.free);
      this.list(site).push(site);
    }
    for (const node of demand.world.nodes) if (node.pool !== undefined) this.charge(node.pool, node.capacity, 1n);
    for (const one of carried) this.add(one.opening, one.open);
  }

  /** Places in the order pods of a kind try them: up before coming, and a kind that wants no accelerator where there are none. */
  inOrder(kind: PodKind): readonly (readonly Site[])[] {
    return kind.needs.accelerators > 0
      ? [this.upAccelerated, this.comingAccelerated]
      : [this.upPlain, this.upAccelerated, this.comingPlain, this.comingAccelerated];
  }

  /** Where in a list the first place is that has room for one more pod of these needs: those before it are full. */
  firstWithRoom(needs: Needs, request: Request, list: readonly Site[]): number {
    let starts = this.starts.get(list);
    if (!starts) {
      starts = new Map();
      this.starts.set(list, starts);
    }
    let at = starts.get(needs.place) ?? 0;
    while (at < list.length && this.sites.room((list[at] as Site).index, request, 1) === 0) at += 1;
    starts.set(needs.place, at);
    return at;
  }

  /** How many more pods of a kind there is room for, neighbours apart; 0 where its terms, taints or ports forbid it. */
  room(kind: PodKind, site: Site, most: number): number {
    if (!kind.request || !site.kind.suits(kind.needs)) return 0;
    if (kind.needs.byName && !this.suitsByName(kind, site)) return 0;
    if (site.maxRuntimeS !== undefined && (kind.maxRuntimeS ?? Number.POSITIVE_INFINITY) > site.maxRuntimeS) return 0;
    const { hostPorts } = kind.needs.source;
    if (hostPorts.length > 0) {
      if (hostPorts.some((port) => site.ports.some((taken) => portsConflict(port, taken)))) return 0;
      return this.sites.room(site.index, kind.request, Math.min(1, most));
    }
    return this.sites.room(site.index, kind.request, most);
  }

  put(kind: PodKind, site: Site, keys: readonly string[]): void {
    if (!kind.request || keys.length === 0) return;
    this.narrow(kind, site);
    this.changes.push({ did: "put", site, kind, times: keys.length, ports: site.ports });
    this.sites.take(site.index, kind.request, keys.length);
    if (kind.needs.source.hostPorts.length > 0) site.ports = [...site.ports, ...kind.needs.source.hostPorts];
    this.tally(kind, site, keys.length);
    site.here.push({ kind, pods: keys });
  }

  /** Opens a claim on a machine that was taken from the fleet. */
  open(opening: Opening): Site {
    const site = this.add(opening, this.demand.openOf(opening.offer));
    this.changes.push({ did: "open", site, opening });
    return site;
  }

  /** Running pods leave a node. */
  evict(site: Site, pods: readonly RunningPod[]): void {
    this.starts.clear();
    this.changes.push({ did: "evict", site, pods });
    this.leave(site, pods, -1);
  }

  /** Takes what the plan put somewhere off its places again. @returns the kinds there were */
  lift(which: (kind: PodKind) => boolean): Set<PodKind> {
    this.starts.clear();
    const kinds = new Set<PodKind>();
    for (const site of this.sites.all) {
      for (const one of [...site.here].filter(({ kind }) => which(kind))) {
        const { kind, pods } = one;
        this.changes.push({ did: "lift", site, kind, times: pods.length, here: [...site.here] });
        kinds.add(kind);
        if (kind.request) this.sites.take(site.index, kind.request, -pods.length);
        this.tally(kind, site, -pods.length);
        site.here.splice(site.here.indexOf(one), 1);
      }
    }
    return kinds;
  }

  /** Nothing more is put on a place; what is there stays in the books. */
  shut(site: Site): void {
    this.sites.free.fill(0, site.index * this.sites.width, (site.index + 1) * this.sites.width);
  }

  mark(): number {
    return this.changes.length;
  }

  /** Takes back everything since the mark; machines go back to the fleet. */
  rollback(mark: number): void {
    this.starts.clear();
    while (this.changes.length > mark) {
      const change = this.changes.pop();
      if (change?.did === "put") {
        const { site, kind, times, ports } = change;
        if (kind.request) this.sites.take(site.index, kind.request, -times);
        site.ports = ports;
        this.tally(kind, site, -times);
        site.here.pop();
      } else if (change?.did === "narrow") {
        change.site.kind.sites -= 1;
        change.site.kind = change.before;
        change.before.sites += 1;
        this.opens.set(change.site.index, change.open);
      } else if (change?.did === "lift") {
        const { site, kind, times, here } = change;
        if (kind.request) this.sites.take(site.index, kind.request, times);
        this.tally(kind, site, times);
        site.here.splice(0, site.here.length, ...here);
      } else if (change?.did === "evict") {
        this.leave(change.site, change.pods, 1);
      } else if (change) {
        this.list(change.site).pop();
        this.sites.dropLast();
        this.opens.delete(change.site.index);
        this.charge(change.opening.pool.name, change.opening.machine.capacity, -1n);
        if (change.opening.taken) this.fleet.version += 1;
        else this.fleet.giveBack(change.opening.offer.lot, change.opening.machine);
      }
    }
  }

  /** The limit of a pool that one more machine would exceed. */
  limit(pool: PoolWorld, machine: MachineSupply): string | undefined {
    for (const [name, limit] of pool.limits) {
      const more = name === "nodes" ? ONE : (machine.capacity.get(name) ?? 0n);
      if ((this.usage.get(pool.name)?.get(name) ?? 0n) + more > limit) return name;
    }
    return undefined;
  }

  /** Claims of this plan. */
  openings(): { readonly site: Site; readonly opening: Opening }[] {
    return this.sites.all.flatMap((site) => (site.opening ? [{ site, opening: site.opening }] : []));
  }

  openOf(site: Site): Requirements {
    return this.opens.get(site.index) ?? new Map();
  }

  private add(opening: Opening, open: Requirements): Site {
    const { offer, outlet, machine } = opening;
    const kind = this.demand.classOf(offer, outlet, open);
    const site = this.sites.add(
      {
        name: machine.name,
        kind,
        opening,
        rank: [2, String(opening.nth).padStart(9, "0"), ""],
        accelerated: offer.accelerators > 0,
        maxRuntimeS: opening.maxRuntimeS,
        labels: undefined,
        ports: offer.ports,
      },
      offer.free,
    );
    this.opens.set(site.index, open);
    this.list(site).push(site);
    this.charge(opening.pool.name, machine.capacity, 1n);
    return site;
  }

  /** Running pods come (1) or go (-1). */
  private leave(site: Site, pods: readonly RunningPod[], times: 1 | -1): void {
    for (const pod of pods) {
      const request = this.demand.columns.known(pod.needs.requests);
      this.sites.take(site.index, request, times);
      for (const counter of this.demand.countersOf(pod))
        if (this.counts(site, counter.among))
          count(counter, counter.level < 0 ? site.index : (site.kind.domains[counter.level] ?? -1), times);
    }
  }

  private list(site: Site): Site[] {
    if (site.rank[0] === 0) return site.accelerated ? this.upAccelerated : this.upPlain;
    return site.accelerated ? this.comingAccelerated : this.comingPlain;
  }

  /** Whether a spread looks at a place. */
  counts(site: Site, filter: NodeFilter | undefined): boolean {
    return site.kind.counts(filter, () => this.labelsOf(site));
  }

  private labelsOf(site: Site): Labels {
    return site.labels ?? (site.opening ? named(site.opening.machine, site.kind.labels) : site.kind.labels);
  }

  private suitsByName({ needs }: PodKind, site: Site): boolean {
    const labels = this.labelsOf(site);
    return (
      needs.terms.some((term) => failsOn(labels, term) === undefined) &&
      needs.volumes.every((alternatives) => alternatives.some((term) => failsOn(labels, term) === undefined))
    );
  }

  /** Only a claim still has several possible values of a label: the pod narrows them. */
  private narrow(kind: PodKind, site: Site): void {
    const open = this.opens.get(site.index);
    if (!open || open.size === 0 || !site.opening) return;
    const labels = this.labelsOf(site);
    const holds = (term: Requirements) => failsOn(labels, term) === undefined;
    const chosen = [kind.needs.terms.find(holds), ...kind.needs.volumes.map((one) => one.find(holds))];
    let next = open;
    for (const term of chosen) {
      for (const [key, set] of term ?? []) {
        const before = next.get(key);
        if (before) next = new Map([...next, [key, intersectValues(before, set)]]);
      }
    }
    if (next === open) return;
    this.changes.push({ did: "narrow", site, before: site.kind, open });
    site.kind.sites -= 1;
    site.kind = this.demand.classOf(site.opening.offer, site.opening.outlet, next);
    site.kind.sites += 1;
    this.opens.set(site.index, next);
  }

  private tally(kind: PodKind, site: Site, times: number): void {
    for (const counter of kind.rules.counted)
      if (this.counts(site, counter.among))
        count(counter, counter.level < 0 ? site.index : (site.kind.domains[counter.level] ?? -1), times);
  }

  private charge(pool: string, capacity: Resources, sign: bigint): void {
    let used = this.usage.get(pool);
    if (!used) {
      used = new Map();
      this.usage.set(pool, used);
    }
    for (const [name, amount] of capacity) used.set(name, (used.get(name) ?? 0n) + amount * sign);
    used.set("nodes", (used.get("nodes") ?? 0n) + ONE * sign);
  }
}

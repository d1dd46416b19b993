import type { Taint } from "../../core/resources.ts";
import type { Request } from "./amounts.ts";
import { timesIn } from "./amounts.ts";
import type { PodKind } from "./kinds.ts";
import type { Needs } from "./needs.ts";
import type { Offer, Outlet } from "./outlet.ts";
import { termsFail } from "./outlet.ts";
import { blockingTaint, steersAway } from "./taints.ts";
import { failsOn, type Labels } from "./terms.ts";
import type { NodeFilter, Topology } from "./topology.ts";
import type { HostPort, MachineSupply, PoolWorld, Toleration } from "./world.ts";

/** Places that are equal but for their names and what is on them. */
export class SiteClass {
  readonly id: number;
  readonly labels: Labels;
  readonly taints: readonly Taint[];
  /** The domain of each topology key; -1: it has none. */
  readonly domains: Int32Array;
  /** Places of it there are now. */
  sites = 0;
  private readonly verdicts = new Map<number, boolean>();
  private readonly filters = new Map<string, boolean>();

  constructor(id: number, labels: Labels, taints: readonly Taint[], topology: Topology) {
    this.id = id;
    this.labels = labels;
    this.taints = taints;
    this.domains = Int32Array.from(topology.keys, (key, level) => {
      const value = labels(key);
      return typeof value === "string" ? topology.domain(level, value) : -1;
    });
  }

  /** Whether pods of these needs may be here, as far as labels and hard taints decide. Names are not asked for. */
  suits(needs: Needs): boolean {
    const known = this.verdicts.get(needs.place);
    if (known !== undefined) return known;
    const fresh =
      blockingTaint(this.taints, needs.source.tolerations) === undefined && (needs.byName || termsFail(needs, this.labels) === undefined);
    this.verdicts.set(needs.place, fresh);
    return fresh;
  }

  steersAway(tolerations: readonly Toleration[]): boolean {
    return steersAway(this.taints, tolerations);
  }

  /**
   * Whether a spread of these needs looks at nodes like this one.
   * @param named labels of the very place, its name among them; without them, names are not asked for
   */
  counts(filter: NodeFilter | undefined, named?: () => Labels): boolean {
    if (!filter) return true;
    const { needs } = filter;
    if (filter.affinity && needs.byName && named && !allowedBy(needs, named())) return false;
    const known = this.filters.get(filter.id);
    if (known !== undefined) return known;
    const allowed = !filter.affinity || needs.byName || allowedBy(needs, this.labels);
    const fresh = allowed && (!filter.taints || blockingTaint(this.taints, needs.source.tolerations) === undefined);
    this.filters.set(filter.id, fresh);
    return fresh;
  }
}

function allowedBy(needs: Needs, labels: Labels): boolean {
  return needs.terms.some((term) => failsOn(labels, term) === undefined);
}

/** What a claim of this plan is made of. */
export interface Opening {
  readonly machine: MachineSupply;
  readonly offer: Offer;
  readonly outlet: Outlet;
  readonly pool: PoolWorld;
  /** Which of the plan's it is. */
  readonly nth: number;
  readonly gang?: string;
  /** Nothing that may run for longer goes there. */
  readonly maxRuntimeS?: number;
  /** From who had it: nobody's when it is not opened after all. */
  readonly taken?: true;
  /** Found small enough by an earlier pass. */
  readonly settled?: true;
}

/** One place for pods. */
export interface Site {
  readonly index: number;
  readonly name: string;
  kind: SiteClass;
  readonly opening: Opening | undefined;
  /** Up before coming and planned; those of each by age and name. */
  readonly rank: readonly [number, string, string];
  readonly accelerated: boolean;
  /** Nothing that may run for longer goes there. */
  readonly maxRuntimeS: number | undefined;
  /** Of a node, its name included; a claim's are its class's and its machine's name. */
  readonly labels: Labels | undefined;
  ports: readonly HostPort[];
  /** What the plan puts here, in order. */
  readonly here: { readonly kind: PodKind; readonly pods: readonly string[] }[];
}

/** The tenant's places: what is free in one long array, a row a place. */
export class Sites {
  readonly all: Site[] = [];
  readonly width: number;
  free: Float64Array;
  /** How many of the tenant's places are in each domain of each topology key. */
  private readonly inDomain: number[][] = [];

  constructor(width: number) {
    this.width = width;
    this.free = new Float64Array(width * 64);
  }

  add(site: Omit<Site, "index" | "here">, free: Float64Array): Site {
    const index = this.all.length;
    const made: Site = { ...site, index, here: [] };
    this.all.push(made);
    if ((index + 1) * this.width > this.free.length) {
      const wider = new Float64Array(this.free.length * 2);
      wider.set(this.free);
      this.free = wider;
    }
    this.free.fill(0, index * this.width, (index + 1) * this.width);
    this.free.set(free, index * this.width);
    site.kind.sites += 1;
    this.settle(site.kind, 1);
    return made;
  }

  /** How many places share a domain with one of this class, over all topology keys. */
  crowd(place: SiteClass): number {
    let sum = 0;
    for (let level = 0; level < place.domains.length; level += 1) sum += this.inDomain[level]?.[place.domains[level] as number] ?? 0;
    return sum;
  }

  /** The last one that was added goes again. */
  dropLast(): void {
    const site = this.all.pop();
    if (!site) return;
    site.kind.sites -= 1;
    this.settle(site.kind, -1);
  }

  private settle(place: SiteClass, more: number): void {
    for (let level = 0; level < place.domains.length; level += 1) {
      const domain = place.domains[level] as number;
      if (domain < 0) continue;
      let counts = this.inDomain[level];
      if (!counts) {
        counts = [];
        this.inDomain[level] = counts;
      }
      counts[domain] = (counts[domain] ?? 0) + more;
    }
  }

  room(index: number, request: Request, most: number): number {
    return timesIn(this.free, index * this.width, request, most);
  }

  take(index: number, request: Request, times: number): void {
    const { at, amounts } = request;
    for (let n = 0; n < at.length; n += 1) {
      const column = index * this.width + (at[n] as number);
      this.free[column] = (this.free[column] as number) - (amounts[n] as number) * times;
    }
  }
}

import { add, multiply, type Resources, shortOf, subtract, timesFitting } from "../../core/quantity.ts";
import { conflict, FIELD_NAME, intersect, labelsOf, type Requirements, requirementsOfLabels } from "../../core/requirements.ts";
import type { Taint } from "../../core/resources.ts";
import { acceleratorsIn, order, type PodKind } from "./kinds.ts";
import { daemonsOn, type Offer } from "./offer.ts";
import { blockingTaint, lastingTaints, portsConflict, steersAway, taintText } from "./taints.ts";
import type { Daemon, HostPort, NodeSupply } from "./world.ts";

/** A place for pods while a plan is made: a node, or a claim the plan has opened. The only thing here that changes. */
export class Site {
  readonly name: string;
  /** Set on claims this plan opens. */
  readonly offer: Offer | undefined;
  readonly rank: readonly [number, string, string];
  readonly accelerators: bigint;
  offered: Requirements;
  private readonly taints: readonly Taint[];
  private free: Resources;
  private ports: readonly HostPort[];
  readonly pods: string[] = [];
  used: Resources = new Map();

  private constructor(
    name: string,
    offer: Offer | undefined,
    rank: Site["rank"],
    offered: Requirements,
    taints: readonly Taint[],
    free: Resources,
  ) {
    this.name = name;
    this.offer = offer;
    this.rank = rank;
    this.offered = offered;
    this.taints = taints;
    this.free = free;
    this.ports = [];
    this.accelerators = acceleratorsIn(free);
  }

  static ofNode(node: NodeSupply, daemons: readonly Daemon[]): Site {
    const taints = node.initialized ? node.taints : lastingTaints(node.taints, node.startupTaints);
    const offered = requirementsOfLabels({ ...node.labels, [FIELD_NAME]: node.name });
    const due = daemonsOn(daemons, offered, taints, node.daemons);
    const rank = node.initialized ? ([0, node.name, ""] as const) : ([1, node.since, node.name] as const);
    const site = new Site(node.name, undefined, rank, offered, taints, subtract(node.allocatable, add(node.used, due)));
    site.ports = node.hostPorts;
    return site;
  }

  /** @param nth which claim of the plan it is: earlier ones fill first */
  static ofOffer(offer: Offer, nth: number, offered: Requirements = offer.offered): Site {
    const rank = [2, String(nth).padStart(9, "0"), ""] as const;
    return new Site(offer.machine.name, offer, rank, offered, offer.pool.taints, offer.free);
  }

  /** Why no pod of this kind can run here, or undefined. */
  problem(kind: PodKind): string | undefined {
    const taint = blockingTaint(this.taints, kind.needs.tolerations);
    if (taint) return `taint ${taintText(taint)} is not tolerated`;
    if (this.term(kind) === undefined) return wantedLabels(this.offered, kind);
    if (kind.needs.hostPorts.some((port) => this.ports.some((taken) => portsConflict(port, taken)))) return "host port taken";
    return shortage(this.free, kind);
  }

  private term(kind: PodKind): Requirements | undefined {
    return kind.terms.find((term) => conflict(this.offered, term) === undefined);
  }

  /** How many of at most `most` pods of this kind fit, when there is no problem. */
  room(kind: PodKind, most: number): number {
    if (this.problem(kind) !== undefined) return 0;
    return timesFitting(this.free, kind.needs.requests, kind.needs.hostPorts.length > 0 ? 1 : most);
  }

  take(kind: PodKind, pods: readonly string[]): void {
    const requests = multiply(kind.needs.requests, pods.length);
    this.free = subtract(this.free, requests);
    this.used = add(this.used, requests);
    this.ports = [...this.ports, ...kind.needs.hostPorts];
    for (const pod of pods) this.pods.push(pod);
    const term = this.term(kind);
    // only a claim still has several possible values of a label: the pod narrows them
    if (this.offer && term) this.offered = intersect(this.offered, onlyOffered(this.offered, term));
  }

  steers(kind: PodKind): boolean {
    return steersAway(this.taints, kind.needs.tolerations);
  }

  /** What the node will be labelled: each label has one value from here on. */
  settled(): Requirements {
    return requirementsOfLabels(labelsOf(this.offered));
  }
}

function onlyOffered(offered: Requirements, term: Requirements): Requirements {
  return new Map([...term].filter(([key]) => offered.has(key)));
}

export function wantedLabels(offered: Requirements, kind: PodKind): string {
  const keys = new Set(kind.terms.map((term) => conflict(offered, term)).filter((key) => key !== undefined));
  return `does not match on ${[...keys].sort().join(" or ")}`;
}

function shortage(free: Resources, kind: PodKind): string | undefined {
  const short = shortOf(free, kind.needs.requests);
  return short.length > 0 ? `too little ${short.join(", ")}` : undefined;
}

/**
 * Where a kind goes first: not where a taint steers it away; nodes that are up before nodes that come, the earliest
 * claim before later ones; and a kind that wants no accelerator goes where there are fewest.
 */
export function siteOrder(kind: PodKind): (a: Site, b: Site) => number {
  return (a, b) =>
    Number(a.steers(kind)) - Number(b.steers(kind)) ||
    Math.min(a.rank[0], 1) - Math.min(b.rank[0], 1) ||
    (kind.accelerators === 0n ? order(a.accelerators, b.accelerators) : 0) ||
    a.rank[0] - b.rank[0] ||
    order(a.rank[1], b.rank[1]) ||
    order(a.rank[2], b.rank[2]);
}

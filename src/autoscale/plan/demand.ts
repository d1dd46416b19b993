import { FIELD_NAME, intersectValues, labelsOf, type Requirements } from "../../core/requirements.ts";
import type { Taint } from "../../core/resources.ts";
import { Columns } from "./amounts.ts";
import { type Batch, Faces, inOrder, kindsOf, namespaceOf, type PodKind, selectedLabels } from "./kinds.ts";
import { isAccelerator, type Needs, type NeedsTable } from "./needs.ts";
import { order } from "./order.ts";
import type { Market } from "./outlet.ts";
import { type Offer, type Outlet, termsFail } from "./outlet.ts";
import { IN_TURN, inTurn } from "./rounds.ts";
import { type Site, SiteClass } from "./sites.ts";
import { blockingTaint, lastingTaints } from "./taints.ts";
import { type Labels, labelIn, OWN_NAME } from "./terms.ts";
import { type Counter, count, Topology } from "./topology.ts";
import type { HostPort, NodeSupply, PendingPod, PoolWorld, RunningPod, TenantWorld } from "./world.ts";

/** A tenant's own resources a plan counts besides those of the inventory. */
const MOST_OWN_COLUMNS = 16;

/** Terms about neighbours a plan weighs for one tenant; of those that no label tells, fewer. */
const MOST_COUNTERS = 4_000;
const MOST_ASKED = 500;

/** A node made ready: what a pass begins with. */
export interface ReadyNode {
  readonly node: NodeSupply;
  readonly kind: SiteClass;
  readonly rank: Site["rank"];
  readonly accelerated: boolean;
  /** What its machine is kept for: nothing that may run for longer goes there. */
  readonly maxRuntimeS: number | undefined;
  readonly free: Float64Array;
  readonly labels: Labels;
  /** Host ports of what runs there, and of daemons that will. */
  readonly ports: readonly HostPort[];
}

interface Circumstances {
  /** Seconds since 1970; {@link inTurn}. */
  readonly now?: number | undefined;
  /** Within how many seconds work must end that joins what a tenant runs on a machine. */
  until?(tenant: string, machine: string): number | undefined;
}

/** What one tenant wants and has, worked out once and read by every pass. */
export class Demand {
  readonly world: TenantWorld;
  readonly table: NeedsTable;
  /** The heaviest first, each with its view of the inventory. */
  readonly outlets: readonly { readonly pool: PoolWorld; readonly outlet: Outlet }[];
  readonly columns: Columns;
  readonly topology: Topology;
  /** In the order they are planned. */
  readonly kinds: readonly PodKind[];
  /** The same, in the parts they are planned in. */
  readonly batches: readonly Batch[];
  /** Kinds that are not planned at all, with their reason. */
  readonly unplannable: readonly PodKind[];
  /** Up before coming; by age and name. */
  readonly nodes: readonly ReadyNode[];
  /** When its oldest pod began to wait. */
  readonly since: string;
  /** Whether some pool or node has a taint that only steers away. */
  readonly steering: boolean;
  /** Whether what is free decides where some kind goes, even on places there are: the domains of a spread, where to begin. */
  readonly minding: boolean;
  private readonly classes = new Map<string, SiteClass>();
  private readonly offerClasses = new Map<Offer, SiteClass>();
  private readonly mentioned: ReadonlySet<string>;
  /** Needs that ask more of their neighbours than this plan weighs. */
  private readonly unweighed = new Set<number>();
  private readonly began: readonly { readonly counts: Int32Array; readonly total: number }[];

  constructor(world: TenantWorld, table: NeedsTable, market: Market, { now, until = () => undefined }: Circumstances = {}) {
    this.world = world;
    this.table = table;
    this.mentioned = market.mentioned;
    const daemons = world.daemons.map((one) => table.of(one.needs));
    const pools = [...world.pools].sort((a, b) => b.weight - a.weight || order(a.name, b.name));
    this.outlets = pools.map((pool) => ({ pool, outlet: market.outlet(pool, daemons) }));
    this.columns = columnsOf(world, market.columns);
    const running = world.nodes.flatMap((node) => (node.leaving ? [] : (node.pods ?? [])));
    this.topology = new Topology(world);
    const faces = this.enrol(running, now);
    const kinds = kindsOf(world, table, faces, this.topology, {
      request: (needs) => (this.columns === market.columns ? market.request(needs) : this.columns.request(needs.source.requests)),
      unweighed: this.unweighed,
    });
    const ranking = {
      choices: (kind: PodKind) => this.outlets.reduce((sum, { outlet }) => sum + outlet.verdict(kind.needs).machines, 0),
      share: (kind: PodKind) => market.share(kind.needs),
    };
    const ordered = inOrder(
      kinds.filter((kind) => kind.problem === undefined),
      ranking,
    );
    this.kinds = ordered.kinds;
    this.batches = ordered.batches;
    this.unplannable = inOrder(
      kinds.filter((kind) => kind.problem !== undefined),
      ranking,
    ).kinds;
    this.since = world.pods.reduce((least, pod) => (least === "" || pod.since < least ? pod.since : least), "");
    this.nodes = world.nodes
      .filter((node) => !node.leaving)
      .map((node) => this.readyNode(node, daemons, until(world.tenant, node.machine ?? node.name)))
      .sort((a, b) => order(a.rank[0], b.rank[0]) || order(a.rank[1], b.rank[1]) || order(a.rank[2], b.rank[2]));
    this.steering = pools.some((pool) => pool.taints.some(isSoft)) || this.nodes.some((node) => node.kind.taints.some(isSoft));
    this.minding = this.kinds.some(
      ({ rules }) => rules.spread.length + rules.softSpread.length + rules.affinity.length + rules.softAffinity.length > 0,
    );
    this.countRunning(faces);
    this.began = this.topology.counters.map((one) => ({ counts: one.counts.slice(), total: one.total }));
  }

  /** Counters as they were before any pass. */
  reset(): void {
    for (const [n, counter] of this.topology.counters.entries()) {
      const began = this.began[n];
      if (!began) continue;
      if (counter.counts.length === began.counts.length) counter.counts.set(began.counts);
      else {
        counter.counts.fill(0);
        counter.counts.set(began.counts);
      }
      counter.total = began.total;
    }
    for (const one of this.classes.values()) one.sites = 0;
    for (const one of this.offerClasses.values()) one.sites = 0;
  }

  /** What counts a running pod, wherever it is. */
  countersOf({ key, labels, needs }: RunningPod): readonly Counter[] {
    if (this.topology.counters.length === 0) return [];
    return this.topology.countedOf((needs.antiAffinity?.length ?? 0) > 0 ? needs.antiAffinity : undefined, namespaceOf(key), labels);
  }

  /** All places by what they have in common, those with no site among them. */
  *places(): Iterable<SiteClass> {
    yield* this.classes.values();
    yield* this.offerClasses.values();
  }

  /** What a machine of an offer would be among the tenant's places. */
  classOf(offer: Offer, outlet: Outlet, open: Requirements = offer.open): SiteClass {
    if (open === offer.open) {
      let known = this.offerClasses.get(offer);
      if (!known) {
        known = this.fresh(offer.labels, outlet.pool.taints);
        this.offerClasses.set(offer, known);
      }
      return known;
    }
    const text = JSON.stringify([
      outlet.id,
      offer.lot.id,
      [...open].map(([key, set]) => [key, set.complement, [...set.values].sort(), set.absent, String(set.atLeast), String(set.atMost)]),
    ]);
    return this.classFor(`open ${text}`, (key) => (offer.open.has(key) ? single(open, key) : offer.labels(key)), outlet.pool.taints);
  }

  /** What is left open of an offer once topology is counted by it: a domain is one value. */
  openOf(offer: Offer): Requirements {
    if (offer.open.size === 0) return offer.open;
    if (!this.topology.keys.some((key) => offer.open.has(key))) return offer.open;
    const settled = labelsOf(offer.open);
    return new Map(
      [...offer.open].map(([key, set]) => {
        const value = this.topology.keys.includes(key) ? labelIn(settled, key) : undefined;
        return [key, value === undefined ? set : intersectValues(set, { complement: false, values: new Set([value]), absent: false })];
      }),
    );
  }

  private enrol(running: readonly RunningPod[], now: number | undefined): Faces {
    const { world, table, topology } = this;
    const asks = (needs: {
      spread?: unknown;
      affinity?: unknown;
      antiAffinity?: unknown;
      preferredAffinity?: unknown;
      preferredAntiAffinity?: unknown;
    }) => (needs.spread ?? needs.affinity ?? needs.antiAffinity ?? needs.preferredAffinity ?? needs.preferredAntiAffinity) !== undefined;
    const asking = world.pods.filter((pod) => asks(pod.needs));
    const shy = running.filter((pod) => (pod.needs.antiAffinity?.length ?? 0) > 0);
    const byNeeds = new Map<string, PendingPod>();
    for (const pod of asking) {
      const key = `${table.of(pod.needs).id} ${namespaceOf(pod.key)}`;
      const known = byNeeds.get(key);
      if (!known || before(pod, known)) byNeeds.set(key, pod);
    }
    // of a tenant that wants more of its neighbours than anybody can weigh, half as much again of the rest has its turn
    const unweighed = (list: readonly PendingPod[], part: number) =>
      list.filter((pod) => {
        const full = topology.counters.length > part * MOST_COUNTERS || topology.asked > part * MOST_ASKED;
        if (!full) topology.enrol(table.of(pod.needs), namespaceOf(pod.key));
        return full;
      });
    const cut = unweighed(
      [...byNeeds.values()].sort((a, b) => (before(a, b) ? -1 : 1)),
      1,
    );
    for (const pod of unweighed(inTurn(cut, now), 1 + IN_TURN)) this.unweighed.add(table.of(pod.needs).id);
    for (const pod of shy)
      if (topology.counters.length <= 2 * MOST_COUNTERS && topology.asked <= 2 * MOST_ASKED)
        topology.enrolRepelling(table.of(pod.needs), namespaceOf(pod.key));
    return new Faces(selectedLabels(new Set([...asking, ...shy].map((pod) => pod.needs))), asking.length + shy.length > 0);
  }

  private countRunning(faces: Faces): void {
    const { topology, table } = this;
    if (topology.counters.length === 0) return;
    const hits = new Map<string, readonly Counter[]>();
    for (const [index, ready] of this.nodes.entries()) {
      for (const pod of ready.node.pods ?? []) {
        const namespace = namespaceOf(pod.key);
        const shy = (pod.needs.antiAffinity?.length ?? 0) > 0;
        const key = `${shy ? table.of(pod.needs).id : ""} ${faces.of(pod)}`;
        let counted = hits.get(key);
        if (!counted) {
          counted = topology.countedOf(shy ? pod.needs.antiAffinity : undefined, namespace, pod.labels);
          hits.set(key, counted);
        }
        for (const counter of counted)
          if (ready.kind.counts(counter.among, () => ready.labels))
            count(counter, counter.level < 0 ? index : (ready.kind.domains[counter.level] ?? -1), 1);
      }
    }
  }

  private readyNode(node: NodeSupply, daemons: readonly Needs[], maxRuntimeS: number | undefined): ReadyNode {
    const taints = node.initialized ? node.taints : lastingTaints(node.taints, node.startupTaints);
    const pairs: string[] = [];
    for (const key in node.labels) if (this.mentioned.has(key) && !OWN_NAME.has(key)) pairs.push(`${key}=${node.labels[key]}`);
    const text = JSON.stringify([pairs.sort(), taints]);
    const kind = this.classFor(text, (key) => labelIn(node.labels, key), taints);
    const labels: Labels = (key) => (key === FIELD_NAME ? node.name : labelIn(node.labels, key));
    const ports = [...node.hostPorts];
    const free = this.columns.held(node.allocatable);
    this.columns.charge(free, node.used);
    for (const [n, daemon] of this.world.daemons.entries()) {
      const needs = daemons[n];
      if (!needs || node.daemons.includes(daemon.name)) continue;
      if (blockingTaint(taints, needs.source.tolerations) || termsFail(needs, labels) !== undefined) continue;
      this.columns.charge(free, needs.source.requests);
      ports.push(...needs.source.hostPorts);
    }
    return {
      node,
      kind,
      ports,
      maxRuntimeS,
      rank: node.initialized ? [0, node.name, ""] : [1, node.since, node.name],
      accelerated: [...node.allocatable].some(([name, amount]) => amount > 0n && isAccelerator(name)),
      free,
      labels,
    };
  }

  private classFor(text: string, labels: Labels, taints: readonly Taint[]): SiteClass {
    let known = this.classes.get(text);
    if (!known) {
      known = this.fresh(labels, taints);
      this.classes.set(text, known);
    }
    return known;
  }

  private fresh(labels: Labels, taints: readonly Taint[]): SiteClass {
    return new SiteClass(this.classes.size + this.offerClasses.size, labels, taints, this.topology);
  }
}

/** Who is enrolled first: the higher priority, then the older. */
function before(a: PendingPod, b: PendingPod): boolean {
  return (b.priority - a.priority || order(a.since, b.since) || order(a.key, b.key)) < 0;
}

/** The one value that is left of an open label, or all that are. */
function single(open: Requirements, key: string): ReturnType<Labels> {
  const set = open.get(key);
  if (set && !set.complement && !set.absent && set.values.size === 1) return [...set.values][0];
  return set;
}

function isSoft(taint: Taint): boolean {
  return taint.effect === "PreferNoSchedule";
}

function columnsOf(world: TenantWorld, common: Columns): Columns {
  const own = new Set<string>();
  for (const node of world.nodes) for (const name of node.allocatable.keys()) if (common.number(name) === undefined) own.add(name);
  if (own.size === 0) return common;
  const wanted = new Set<string>();
  for (const pod of world.pods) for (const name of pod.needs.requests.keys()) if (own.has(name)) wanted.add(name);
  return wanted.size === 0 ? common : new Columns([...common.names, ...[...wanted].sort().slice(0, MOST_OWN_COLUMNS)]);
}

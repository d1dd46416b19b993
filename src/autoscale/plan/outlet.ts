import { LABEL_INSTANCE_TYPE, LABEL_NODEPOOL } from "../../core/names.ts";
import { type Resources, sum } from "../../core/quantity.ts";
import { FIELD_NAME, type Requirements, requirementsOf } from "../../core/requirements.ts";
import type { RootDevice } from "../../core/resources.ts";
import { type Columns, held, type Request, timesIn } from "./amounts.ts";
import type { Fleet, Lot } from "./fleet.ts";
import { acceleratorsIn, type Needs } from "./needs.ts";
import { blockingTaint, portsConflict, taintText } from "./taints.ts";
import { failsOn, type Labels, labelIn, meets, OWN_NAME } from "./terms.ts";
import type { ClassWorld, HostPort, MachineSupply, PoolWorld } from "./world.ts";

/** What a machine of a lot would be as a node of a pool: before any pod, after its daemons. */
export interface Offer {
  readonly lot: Lot;
  readonly labels: Labels;
  /** What the pool leaves open of labels the machine does not have. */
  readonly open: Requirements;
  readonly daemons: Resources;
  /** Host ports of its daemons. */
  readonly ports: readonly HostPort[];
  readonly free: Float64Array;
  readonly accelerators: number;
  readonly carriesImage: boolean;
  readonly cost: number;
  readonly memory: number;
  readonly cpu: number;
  /** Where it stands among the outlet's by waste: accelerators, cost, the image it carries already, memory, cpu. */
  rank: number;
}

/** Where pods of some needs can go in a pool, and why not elsewhere. */
export interface Verdict {
  /** The least wasteful first. */
  readonly offers: readonly Offer[];
  /** Those that would do, but are {@link KEPT}. */
  readonly kept: readonly Offer[];
  readonly suits: ReadonlySet<Offer>;
  /** Machines of these offers, free or not. */
  readonly machines: number;
  readonly because: readonly { readonly reason: string; readonly count: number }[];
}

/** What is said of a machine that would do, but for the accelerators it has. */
export const KEPT = "kept for pods that ask for its accelerators";

const NOTHING_OPEN: Requirements = new Map();

/** Keys that are facts of a machine: a pool may ask for them, it cannot make them true. */
const FACTS: ReadonlySet<string> = new Set([
  "kubernetes.io/arch",
  "kubernetes.io/os",
  "kubernetes.io/hostname",
  "karpenter.sh/capacity-type",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
]);

function isFact(key: string): boolean {
  return FACTS.has(key) || key.startsWith("topology.ironwright.dev/") || key.startsWith("ironwright.dev/");
}

/** Everything all outlets of a plan share. */
export interface Market {
  readonly fleet: Fleet;
  readonly columns: Columns;
  /** Keys of labels somebody asks about. */
  readonly mentioned: ReadonlySet<string>;
  /** A pool's view of the inventory, with the daemons its nodes will run. */
  outlet(pool: PoolWorld, daemons: readonly Needs[]): Outlet;
  /** Of each needs, by its id; undefined: nobody offers it. */
  request(needs: Needs): Request | undefined;
  /** The largest part of any machine that one pod of these needs takes. */
  share(needs: Needs): number;
}

/** A pool's view of the inventory, shared by all pools that say the same. */
export class Outlet {
  readonly id: number;
  /** One of those it stands for. */
  readonly pool: PoolWorld;
  /** Keys of which the pool wants so many values to choose from: `minValues`. */
  readonly fewest: readonly { readonly key: string; readonly count: number }[];
  /** Some requirement of the pool names machines. */
  readonly byName: boolean;
  /** Machines the class selects, free or not. */
  readonly machines: number;
  private readonly market: Market;
  private readonly daemons: readonly Needs[];
  private readonly wanted: Requirements;
  /** All it could give, the least wasteful first. */
  readonly offers: readonly Offer[];
  private readonly rejected: readonly { readonly reason: string; readonly count: number }[];
  private readonly verdicts = new Map<number, Verdict>();

  constructor(id: number, pool: PoolWorld, daemons: readonly Needs[], market: Market) {
    this.id = id;
    this.pool = pool;
    this.market = market;
    this.daemons = daemons;
    this.wanted = requirementsOf(pool.requirements);
    this.fewest = [...this.wanted].flatMap(([key, { minValues = 0 }]) => (minValues > 1 ? [{ key, count: minValues }] : []));
    this.byName = [...this.wanted.keys()].some((key) => OWN_NAME.has(key));
    const selector = Object.entries(pool.machineClass.selector);
    const chosen = market.fleet.lots.filter((lot) => selector.every(([key, value]) => lot.like.labels[key] === value));
    this.machines = chosen.reduce((total, lot) => total + lot.size, 0);
    const offers: Offer[] = [];
    const rejected = new Map<string, number>();
    for (const lot of chosen) {
      const offer = this.offer(lot);
      if (typeof offer === "string") rejected.set(offer, (rejected.get(offer) ?? 0) + lot.size);
      else offers.push(offer);
    }
    offers.sort(byWaste);
    for (const [n, offer] of offers.entries()) {
      const before = offers[n - 1];
      offer.rank = before ? before.rank + (byWaste(before, offer) === 0 ? 0 : 1) : 0;
    }
    this.offers = offers;
    this.rejected = [...rejected].map(([reason, count]) => ({ reason, count }));
  }

  /** Where in this pool pods of some needs could ever run. */
  verdict(needs: Needs): Verdict {
    const known = this.verdicts.get(needs.place);
    if (known) return known;
    const offers: Offer[] = [];
    const kept: Offer[] = [];
    const because = new Map<string, number>(this.rejected.map(({ reason, count }) => [reason, count]));
    for (const offer of this.offers) {
      const reason = this.reason(needs, offer);
      if (reason === KEPT) kept.push(offer);
      if (reason === undefined) offers.push(offer);
      else because.set(reason, (because.get(reason) ?? 0) + offer.lot.size);
    }
    const machines = offers.reduce((sum, offer) => sum + offer.lot.size, 0);
    const fresh = { offers, kept, suits: new Set(offers), machines, because: [...because].map(([reason, count]) => ({ reason, count })) };
    this.verdicts.set(needs.place, fresh);
    return fresh;
  }

  /** Whether the pool's and a pod's terms that name machines allow one. */
  allows(needs: Needs, machine: MachineSupply, offer: Offer): boolean {
    const labels = named(machine, offer.labels);
    for (const [key, set] of this.wanted) if (OWN_NAME.has(key) && !meets(labels(key), set)) return false;
    return !needs.byName || termsFail(needs, labels) === undefined;
  }

  private reason(needs: Needs, offer: Offer): string | undefined {
    const taint = blockingTaint(this.pool.taints, needs.source.tolerations);
    if (taint) return `taint ${taintText(taint)} is not tolerated`;
    const port = needs.source.hostPorts.find((one) => offer.ports.some((taken) => portsConflict(one, taken)));
    if (port) return `host port ${port.port} is a daemon's`;
    const wrong = offer.lot.endless || !needs.byName ? termsFail(needs, offer.labels) : undefined;
    if (wrong !== undefined) return this.unknown(wrong) ? `label ${wrong} has no known values` : `does not match on ${wrong}`;
    const request = this.market.request(needs);
    if (request && timesIn(offer.free, 0, request, 1) > 0) return this.isKept(needs, offer) ? KEPT : undefined;
    const short = this.shortOf(needs, offer);
    const lacking = short.filter((name) => (offer.lot.like.allocatable.get(name) ?? 0n) <= 0n);
    return lacking.length > 0 ? `lacks ${lacking.join(", ")}` : `too small (${short.join(", ")})`;
  }

  /** Machines with accelerators are for who asks for some. */
  private isKept(needs: Needs, offer: Offer): boolean {
    return needs.accelerators === 0 && offer.accelerators > 0 && !this.pool.plainPodsOnAccelerators;
  }

  private shortOf(needs: Needs, offer: Offer): string[] {
    const { columns } = this.market;
    const short: string[] = [];
    for (const [name, amount] of needs.source.requests) {
      const one = amount > 0n ? columns.request(new Map([[name, amount]])) : undefined;
      if (amount > 0n && (!one || timesIn(offer.free, 0, one, 1) === 0)) short.push(name);
    }
    return short.sort();
  }

  /** Whether no machine of the pool has a label, nor does the pool give it. */
  private unknown(key: string): boolean {
    return !OWN_NAME.has(key) && this.offers.every((offer) => offer.labels(key) === undefined);
  }

  /** The offer of a lot its class selects, or why it can never be one. */
  private offer(lot: Lot): Offer | string {
    const { pool } = this;
    const machine = lot.like;
    const lacking = classProblem(pool.machineClass, machine);
    if (lacking !== undefined) return lacking;
    const own = (key: string): string | undefined => {
      if (key === LABEL_NODEPOOL) return pool.name;
      const given = labelIn(pool.labels, key) ?? labelIn(machine.nodeLabels, key);
      return given ?? (key === LABEL_INSTANCE_TYPE ? pool.machineClass.name : undefined);
    };
    const open = new Map<string, ReturnType<Requirements["get"]> & object>();
    for (const [key, set] of this.wanted) {
      const label = own(key);
      const operators = labelIn(machine.labels, key);
      if (label !== undefined && operators !== undefined && label !== operators) return `not what the pool wants of ${key}`;
      const known = label ?? operators;
      if (known === undefined && !isFact(key)) open.set(key, set);
      else if (!OWN_NAME.has(key) && !meets(known, set)) return `not what the pool wants of ${key}`;
    }
    // a node carries its own name: whoever asks for one is asked of each machine
    const labels: Labels = (key) => own(key) ?? open.get(key);
    const nothing = open.size === 0 ? NOTHING_OPEN : open;
    const due = this.daemons.filter(
      (one) => !blockingTaint(pool.taints, one.source.tolerations) && one.terms.some((term) => failsOn(labels, term) === undefined),
    );
    const daemons = sum(due.map((one) => one.source.requests));
    const free = this.market.columns.held(machine.allocatable);
    this.market.columns.charge(free, daemons);
    const image = pool.machineClass.image?.sha256;
    return {
      lot,
      labels,
      open: nothing,
      daemons,
      ports: due.flatMap((one) => one.source.hostPorts),
      free,
      accelerators: acceleratorsIn(machine.allocatable),
      carriesImage: image !== undefined && image === machine.imageSha256,
      cost: machine.cost ?? 1,
      memory: held("memory", machine.allocatable.get("memory") ?? 0n),
      cpu: held("cpu", machine.allocatable.get("cpu") ?? 0n),
      rank: 0,
    };
  }
}

/** The labels of one machine of a lot. */
export function named(machine: MachineSupply, common: Labels): Labels {
  return (key) => (key === FIELD_NAME ? machine.name : OWN_NAME.has(key) ? machine.nodeLabels[key] : common(key));
}

function byWaste(a: Offer, b: Offer): number {
  return (
    a.accelerators - b.accelerators ||
    a.cost - b.cost ||
    Number(b.carriesImage) - Number(a.carriesImage) ||
    a.memory - b.memory ||
    a.cpu - b.cpu
  );
}

/** The label or labels on which all of a pod's terms, or one of its volumes, fail. */
export function termsFail(needs: Needs, labels: Labels): string | undefined {
  const wrong = new Set<string>();
  let holds = false;
  for (const term of needs.terms) {
    const key = failsOn(labels, term);
    if (key === undefined) {
      holds = true;
      break;
    }
    wrong.add(key);
  }
  if (!holds) return [...wrong].sort().join(" or ");
  for (const alternatives of needs.volumes) {
    const keys = alternatives.map((term) => failsOn(labels, term));
    if (!keys.includes(undefined)) return [...new Set(keys)].sort().join(" or ");
  }
  return undefined;
}

function classProblem(one: ClassWorld, machine: MachineSupply): string | undefined {
  if (one.gpus) {
    const { count, id } = one.gpus;
    const have = id === undefined ? machine.gpus.length : machine.gpus.filter((gpu) => gpu === id).length;
    if (have < count) return `has ${have} of the ${count} GPUs its class wants`;
  }
  const root = one.rootDevice ?? {};
  const least = Math.max((root.minSizeGiB ?? 0) * 2 ** 30, one.image?.sizeBytes ?? 0);
  if (!machine.disks.some((disk) => disk.sizeBytes >= least && matchesRoot(root, disk))) return "no disk its class could use";
  return undefined;
}

function matchesRoot(root: RootDevice, disk: MachineSupply["disks"][number]): boolean {
  return (["serial", "wwn", "model", "name"] as const).every((field) => root[field] === undefined || root[field] === disk[field]);
}

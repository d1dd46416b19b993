import { type Choice, type Goal, longWipe } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { Fleet } from "./fleet.ts";
import { placeGang } from "./gang-turn.ts";
import type { Batch, PodKind } from "./kinds.ts";
import type { Variant } from "./orders.ts";
import { Placing, type Within } from "./placing.ts";
import type { Former, Referee } from "./referee.ts";
import { IN_TURN, inTurn } from "./rounds.ts";
import type { Site } from "./sites.ts";
import type { Counter } from "./topology.ts";
import type { MachineSupply, Policy } from "./world.ts";

/** What all tenants' turns share. */
export interface Pass {
  readonly fleet: Fleet;
  readonly referee: Referee;
  readonly policy: Policy;
  /** How much one tenant may look at; beyond that, half as much again of what is left, in turn. */
  readonly work: number;
  readonly now: number;
  /** Claims opened so far, for their order. */
  opened: number;
}

/** Kinds that have no place, and from which of their pods on. */
export interface Left {
  readonly kind: PodKind;
  readonly from: number;
  /** What is said of it instead of what its machines say. */
  readonly reason?: string;
  readonly hint?: string;
  /** Machines it may take back, but for what protects them now. */
  readonly held?: readonly string[];
}

/** Pods of a kind whose turn is to come. */
export interface Portion extends Batch {
  readonly within?: Within;
  /** Of a gang that has its minimum. */
  readonly grows?: true;
}

/** One tenant's part of a pass: its kinds in order, each on places there are and then on machines it opens. */
export class Turn {
  readonly cluster: Cluster;
  readonly goal: Goal;
  readonly pass: Pass;
  left: Left[] = [];
  /** Kinds that were not looked at: the work budget was spent. */
  readonly rest: Left[] = [];
  /** What is still to come. */
  private queue: readonly Portion[];
  /** Kinds of which a part found no place: the rest finds none either. */
  private readonly full = new Set<PodKind>();
  private at = 0;
  private current: Placing | undefined;
  /** How much it may look at until the rest waits. */
  private limit: number;
  /** Pods placed so far, and as many as there were when those that follow others were last tried. */
  private progress = 0;
  private tried = -1;
  private readonly waitingPlain: Float64Array;
  private readonly waitingAccelerated: Float64Array;

  /** @param variant the order it takes its kinds in, and how it chooses machines */
  constructor(cluster: Cluster, pass: Pass, { batches, snug }: Variant) {
    this.cluster = cluster;
    this.pass = pass;
    this.limit = pass.work;
    const { kinds, columns } = cluster.demand;
    this.queue = batches;
    this.waitingPlain = new Float64Array(columns.count);
    this.waitingAccelerated = new Float64Array(columns.count);
    for (const kind of kinds) this.wait(kind, kind.oneEach ? 1 : kind.pods.length);
    const { policy, fleet, referee } = pass;
    this.goal = {
      fleet,
      referee,
      snug,
      preferences: policy.preferences ?? "rank",
      minValues: policy.minValues ?? "Strict",
      waitForWipeS: policy.waitForWipeS ?? 0,
      longWipeS: longWipe(policy),
      expendableBelow: policy.expendableBelow ?? Number.NEGATIVE_INFINITY,
      work: { done: 0 },
      waiting: (kind) => (kind.needs.accelerators > 0 ? this.waitingAccelerated : this.waitingPlain),
      placed: (kind, times) => {
        this.progress += times;
        if (!kind.oneEach) this.wait(kind, -times);
      },
      following: (kind, counter, count) => this.following(kind, counter, count),
    };
  }

  hasWork(): boolean {
    return this.current !== undefined || this.at < this.queue.length;
  }

  /** Goes on with the kind at hand until it needs a machine, and opens it; or finishes the kind. @returns whether it opened any */
  step(): boolean {
    if (!this.current) {
      const next = this.queue[this.at];
      if (!next) return false;
      if (this.limit === this.pass.work && this.goal.work.done > this.limit) {
        this.turnQueue();
        return false;
      }
      this.at += 1;
      if (this.full.has(next.kind)) return this.done();
      if (this.goal.work.done > this.limit) {
        this.full.add(next.kind);
        this.rest.push({ kind: next.kind, from: next.skip });
        return this.done();
      }
      if (next.kind.gang !== undefined && !next.grows) return placeGang(this, next.kind.gang) || this.done();
      this.current = new Placing(this.cluster, next.kind, this.goal, next);
    }
    const choice = this.current.next();
    if (choice && this.open(choice, this.current.kind)) return true;
    this.finish(this.current);
    this.current = undefined;
    return this.done();
  }

  /** Once the budget is spent, each round goes on from another kind of what is left. */
  private turnQueue(): void {
    this.limit = this.goal.work.done + this.pass.work * IN_TURN;
    const left = Map.groupBy(this.queue.slice(this.at), ({ kind }) => kind);
    this.queue = [...this.queue.slice(0, this.at), ...inTurn([...left.values()], this.pass.now).flat()];
  }

  private done(): false {
    if (this.at >= this.queue.length) this.retry();
    return false;
  }

  /** Places pods of a kind without letting others in between. @returns how many have a place */
  place(kind: PodKind, part: { readonly skip?: number; readonly most?: number; readonly within?: Within } = {}): number {
    const placing = new Placing(this.cluster, kind, this.goal, part);
    for (let choice = placing.next(); choice; choice = placing.next()) if (!this.open(choice, kind)) break;
    return placing.placed;
  }

  /** Takes a machine from the fleet and makes a place of it. */
  open({ willDo, ...choice }: Choice, kind: PodKind): Site | undefined {
    const machine = this.pass.fleet.take(choice.offer.lot, willDo);
    return machine && this.adopt(choice, machine, kind);
  }

  /** Makes a place of a machine that nobody else can take, or that its former tenant gives up. */
  adopt({ pool, outlet, offer }: Choice, machine: MachineSupply, { gang, maxRuntimeS }: PodKind, former?: Former): Site {
    this.pass.opened += 1;
    const bound = this.pass.referee.opened(this.cluster, machine, maxRuntimeS, former);
    if (former) this.pass.fleet.version += 1;
    return this.cluster.open({
      machine,
      offer,
      outlet,
      pool,
      nth: this.pass.opened,
      ...(former ? { taken: true as const } : {}),
      ...(gang === undefined ? {} : { gang }),
      ...(bound === undefined ? {} : { maxRuntimeS: bound }),
    });
  }

  /** Takes back everything since a mark of the cluster, when so many machines had been opened. */
  back(mark: number, opened: number): void {
    this.cluster.rollback(mark);
    for (; this.pass.opened > opened; this.pass.opened -= 1) this.pass.referee.closed();
  }

  /** The kinds of a gang, in their order; they are not offered again. */
  membersOf(gang: string): PodKind[] {
    const kinds = new Set(this.queue.filter((one) => one.kind.gang === gang).map((one) => one.kind));
    this.queue = this.queue.filter((one, n) => n < this.at || one.kind.gang !== gang);
    return [...kinds];
  }

  /** A gang waits until the turn comes round to its tenant again. */
  again(kinds: readonly PodKind[]): void {
    this.insert(
      this.at,
      kinds.map((kind) => ({ kind, skip: 0, most: kind.pods.length })),
    );
  }

  /**
   * A gang that has its minimum grows machine by machine and only as turns come: once the other gangs of its priority had
   * their turn, or at once in domains that were chosen for all of it.
   */
  grow(more: readonly Portion[]): void {
    const [first] = more;
    const comesBefore = ({ kind, grows }: Portion) =>
      first?.within === undefined && kind.gang !== undefined && !grows && kind.priority === first?.kind.priority;
    let at = this.at;
    for (let next = this.queue[at]; next && comesBefore(next); next = this.queue[at]) at += 1;
    this.insert(at, more);
  }

  private insert(at: number, more: readonly Portion[]): void {
    this.queue = [...this.queue.slice(0, at), ...more, ...this.queue.slice(at)];
  }

  private finish({ kind, placed, left, skip }: Placing): void {
    if (kind.oneEach) this.wait(kind, -1);
    if (left === 0) return;
    // of a gang, what goes beyond the room it has is left already
    if (kind.gang !== undefined) this.left = this.left.filter((one) => one.kind !== kind);
    const reason = kind.gang === undefined ? {} : { reason: `gang ${kind.gang} has as many members as there is room for` };
    this.left.push({ kind, from: skip + placed, ...reason });
    this.full.add(kind);
    if (!kind.oneEach) this.wait(kind, -(kind.pods.length - skip - placed));
  }

  /** Pods that follow others, or are counted with them, are tried again as long as that helps somebody. */
  private retry(): void {
    const follows = ({ kind }: Left) => kind.gang === undefined && kind.rules.affinity.length + kind.rules.spread.length > 0;
    if (this.progress === this.tried || !this.left.some(follows)) return;
    this.tried = this.progress;
    this.queue = this.left.filter(follows).map(({ kind, from }) => ({ kind, skip: from, most: kind.pods.length - from }));
    for (const { kind } of this.queue) this.full.delete(kind);
    this.left = this.left.filter((one) => !follows(one));
    this.at = 0;
  }

  private wait(kind: PodKind, times: number): void {
    const waiting = kind.needs.accelerators > 0 ? this.waitingAccelerated : this.waitingPlain;
    const { request } = kind;
    if (!request) return;
    for (let n = 0; n < request.at.length; n += 1) {
      const column = request.at[n] as number;
      const amount = request.amounts[n] as number;
      if (Number.isFinite(amount)) waiting[column] = Math.max(0, (waiting[column] as number) + amount * times);
    }
  }

  /** How many pods of a kind's size all those ask for that must be in the same domain. */
  private following(kind: PodKind, counter: Counter, count: number): number {
    let sum = count;
    for (const other of this.cluster.demand.kinds) {
      if (other === kind || !other.rules.affinity.some((rule) => rule.counter === counter)) continue;
      sum += Math.ceil(other.pods.length * sizeAgainst(other, kind));
    }
    return sum;
  }
}

/** How large a pod of one kind is against one of another, by what it asks most of. */
function sizeAgainst(one: PodKind, other: PodKind): number {
  let most = 0;
  for (const [name, amount] of one.needs.source.requests) {
    const base = other.needs.source.requests.get(name) ?? 0n;
    if (base > 0n) most = Math.max(most, Number(amount) / Number(base));
  }
  return most;
}

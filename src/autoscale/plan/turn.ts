import type { Choice, Goal } from "./choose.ts";
import type { Cluster } from "./cluster.ts";
import type { Fleet } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import { Placing, type Within } from "./placing.ts";
import type { Referee } from "./referee.ts";
import type { Site } from "./sites.ts";
import type { Counter } from "./topology.ts";
import type { Policy } from "./world.ts";

/** What all tenants' turns share. */
export interface Pass {
  readonly fleet: Fleet;
  readonly referee: Referee;
  readonly policy: Policy;
  /** How much one tenant may look at. */
  readonly work: number;
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
}

/** One tenant's part of a pass: its kinds in order, each on places there are and then on machines it opens. */
export class Turn {
  readonly cluster: Cluster;
  readonly goal: Goal;
  readonly pass: Pass;
  left: Left[] = [];
  /** Kinds that were not looked at: the work budget was spent. */
  readonly rest: PodKind[] = [];
  /** Kinds still to come, each with how many of its pods have a place already. */
  private queue: { readonly kind: PodKind; readonly skip: number }[];
  private at = 0;
  private current: Placing | undefined;
  /** Pods placed so far, and as many as there were when those that follow others were last tried. */
  private progress = 0;
  private tried = -1;
  private readonly waitingPlain: Float64Array;
  private readonly waitingAccelerated: Float64Array;

  constructor(cluster: Cluster, pass: Pass) {
    this.cluster = cluster;
    this.pass = pass;
    const { kinds, columns } = cluster.demand;
    this.queue = kinds.map((kind) => ({ kind, skip: 0 }));
    this.waitingPlain = new Float64Array(columns.count);
    this.waitingAccelerated = new Float64Array(columns.count);
    for (const kind of kinds) this.wait(kind, kind.oneEach ? 1 : kind.pods.length);
    const { policy, fleet, referee } = pass;
    this.goal = {
      fleet,
      referee,
      preferences: policy.preferences ?? "rank",
      waitForWipeS: policy.waitForWipeS ?? 0,
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
      this.at += 1;
      if (this.goal.work.done > this.pass.work) {
        this.rest.push(next.kind);
        return false;
      }
      if (next.kind.gang !== undefined) return placeGang(this, next.kind.gang);
      this.current = new Placing(this.cluster, next.kind, this.goal, { skip: next.skip });
    }
    const choice = this.current.next();
    if (choice && this.open(choice)) return true;
    this.finish(this.current);
    this.current = undefined;
    if (this.at >= this.queue.length) this.retry();
    return false;
  }

  /** Places pods of a kind without letting others in between. @returns how many have a place */
  place(kind: PodKind, part: { readonly skip?: number; readonly most?: number; readonly within?: Within } = {}): number {
    const placing = new Placing(this.cluster, kind, this.goal, part);
    for (let choice = placing.next(); choice; choice = placing.next()) if (!this.open(choice, kind.gang)) break;
    return placing.placed;
  }

  /** Takes a machine from the fleet and makes a place of it. */
  open({ pool, outlet, offer, willDo }: Choice, gang?: string): Site | undefined {
    const machine = this.pass.fleet.take(offer.lot, willDo);
    if (!machine) return undefined;
    this.pass.opened += 1;
    return this.cluster.open(outlet, pool, offer, machine, this.pass.opened, gang);
  }

  /** The kinds of a gang, in their order; they are not offered again. */
  membersOf(gang: string): PodKind[] {
    const kinds = this.queue.filter((one) => one.kind.gang === gang).map((one) => one.kind);
    this.queue = this.queue.filter((one, n) => n < this.at || one.kind.gang !== gang);
    return kinds;
  }

  private finish({ kind, placed, left, skip }: Placing): void {
    if (left > 0) this.left.push({ kind, from: skip + placed });
    this.wait(kind, kind.oneEach ? -1 : -left);
  }

  /** Pods that follow others, or are counted with them, are tried again as long as that helps somebody. */
  private retry(): void {
    const follows = ({ kind }: Left) => kind.rules.affinity.length + kind.rules.spread.length > 0;
    if (this.progress === this.tried || !this.left.some(follows)) return;
    this.tried = this.progress;
    this.queue = this.left.filter(follows).map(({ kind, from }) => ({ kind, skip: from }));
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

/** All members or none. */
function placeGang(turn: Turn, name: string): boolean {
  const first = turn.cluster.mark();
  const gang = turn.cluster.demand.world.gangs?.find((one) => one.name === name);
  const kinds = turn.membersOf(name);
  const opened = turn.pass.opened;
  const placed = kinds.map((kind) => turn.place(kind));
  const all = placed.reduce((sum, one) => sum + one, 0);
  const running = turn.cluster.demand.runningOf(name);
  if (all + running < (gang?.min ?? 1)) {
    turn.cluster.rollback(first);
    turn.pass.opened = opened;
    for (const kind of kinds)
      turn.left.push({ kind, from: 0, reason: `its gang needs ${gang?.min ?? 1} places, there are ${all + running}` });
    return false;
  }
  for (const [n, kind] of kinds.entries()) if ((placed[n] ?? 0) < kind.pods.length) turn.left.push({ kind, from: placed[n] ?? 0 });
  return turn.pass.opened > opened;
}

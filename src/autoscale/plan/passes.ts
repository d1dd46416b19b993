import { type Carried, Cluster } from "./cluster.ts";
import { Demand } from "./demand.ts";
import { Heap } from "./heap.ts";
import { SharedMarket } from "./market.ts";
import { NeedsTable } from "./needs.ts";
import { order } from "./order.ts";
import { beats, ordersToTry, PATIENCE, type Score, scoreOf, variantOf } from "./orders.ts";
import { Quotas } from "./quotas.ts";
import { sharers } from "./rounds.ts";
import { settled } from "./settle.ts";
import { type Pass, Turn } from "./turn.ts";
import type { World } from "./world.ts";

/** Passes change the plan a second time only in rare worlds; one that needs more than these would never settle. */
const MOST_PASSES = 16;
/** Places and machines a plan looks at before it leaves the rest for the next round; some seconds' worth. */
const WORK = 100_000_000;
/** What a tenant may always look at, however many there are. */
const LEAST_WORK = 200_000;

/** What a pass gave one tenant, and whether the next would give it the same. */
interface Result {
  readonly turn: Turn;
  readonly stable: boolean;
}

/** A world made ready to be planned, and its passes. */
export class Planner {
  readonly market: SharedMarket;
  readonly quotas: Quotas;
  private readonly demands: readonly Demand[];
  private readonly pass: Pass;
  private readonly orders: number;

  constructor(world: World) {
    this.market = new SharedMarket(world);
    this.quotas = new Quotas(world);
    const table = new NeedsTable();
    const circumstances = { now: world.now, until: (tenant: string, machine: string) => this.quotas.until(tenant, machine) };
    this.demands = [...world.tenants]
      .sort((a, b) => order(a.tenant, b.tenant))
      .map((one) => new Demand(one, table, this.market, circumstances));
    const { policy = {}, now = 0 } = world;
    const work = Math.max(LEAST_WORK, Math.floor((policy.work ?? WORK) / sharers(world.tenants)));
    this.pass = {
      fleet: this.market.fleet,
      referee: this.quotas,
      policy,
      work: policy.work === undefined ? work : Math.min(work, policy.work),
      now,
      opened: 0,
    };
    this.orders = ordersToTry(this.demands);
  }

  /**
   * Passes until one opens nothing and leaves nothing unused. What is opened stays while there is more to open, though
   * nobody uses it any more: what goes and comes back would never settle.
   */
  run(): readonly Turn[] {
    let carried: readonly Carried[] = [];
    let results: readonly Result[] = [];
    for (let count = 1; ; count += 1) {
      const turns = this.best(carried, results);
      const before = countBy(carried);
      const openings = turns.reduce((sum, turn) => sum + turn.cluster.openings().length, 0);
      const grew = openings !== carried.length;
      const next: Carried[] = [];
      results = turns.map((turn) => {
        const mine = settled(turn.cluster, turn.goal, grew);
        for (const one of mine) next.push(one);
        const same = mine.length === (before.get(turn.cluster.demand) ?? 0) && mine.length === turn.cluster.openings().length;
        return { turn, stable: same && turn.left.length + turn.rest.length === 0 && !turn.cluster.demand.minding };
      });
      if ((!grew && next.length === carried.length) || count === MOST_PASSES) return turns;
      carried = next.sort((a, b) => a.opening.nth - b.opening.nth);
    }
  }

  /** The best of some passes that take the pods in other orders; in a large world there is only one. */
  private best(carried: readonly Carried[], results: readonly Result[]): readonly Turn[] {
    const made = this.market.fleet.makes();
    let turns = this.once(carried, results, 0);
    if (this.orders <= 1) return turns;
    let best: Score = scoreOf(turns);
    let chosen = 0;
    let last = 0;
    for (let nth = 1; nth < this.orders && nth <= chosen + PATIENCE && !best.perfect; nth += 1) {
      this.takeBack(turns, made);
      turns = this.once(carried, [], nth);
      last = nth;
      const score = scoreOf(turns);
      if (!beats(score, best)) continue;
      best = score;
      chosen = nth;
    }
    if (chosen === last) return turns;
    this.takeBack(turns, made);
    return this.once(carried, [], chosen);
  }

  /** Machines that a pass opened go back. */
  private takeBack(turns: readonly Turn[], made: ReadonlyMap<number, number>): void {
    for (const turn of turns) turn.cluster.rollback(0);
    this.market.fleet.remake(made);
  }

  /** All tenants' turns, with the claims of the last pass as nodes to come. What is stable is not planned again. */
  private once(carried: readonly Carried[], results: readonly Result[], variant: number): readonly Turn[] {
    const { pass, quotas, market } = this;
    pass.opened = carried.reduce((last, one) => Math.max(last, one.opening.nth), 0);
    const mine = new Map<Demand, Carried[]>();
    for (const one of carried) {
      const list = mine.get(one.demand);
      if (list) list.push(one);
      else mine.set(one.demand, [one]);
    }
    const turns = this.demands.map((demand, n) => {
      const before = results[n];
      if (before?.stable) return before.turn;
      return new Turn(new Cluster(demand, mine.get(demand) ?? [], market.fleet), pass, variantOf(demand, variant));
    });
    quotas.rewind();
    const clusters = new Map(turns.map((turn) => [turn.cluster.demand, turn.cluster]));
    for (const { demand, opening } of carried) {
      const cluster = clusters.get(demand);
      if (cluster) quotas.opened(cluster, opening.machine, opening.maxRuntimeS);
    }
    const waiting = new Heap<Turn>(
      (a, b) => quotas.before(a.cluster, b.cluster),
      turns.filter((turn) => turn.hasWork()),
    );
    for (let turn = waiting.pop(); turn; turn = waiting.pop()) {
      let opened = false;
      while (!opened && turn.hasWork()) opened = turn.step();
      if (turn.hasWork()) waiting.push(turn);
    }
    return turns;
  }
}

function countBy(carried: readonly Carried[]): ReadonlyMap<Demand, number> {
  const counts = new Map<Demand, number>();
  for (const { demand } of carried) counts.set(demand, (counts.get(demand) ?? 0) + 1);
  return counts;
}

import { seededRandom } from "../../core/random.ts";
import type { Demand } from "./demand.ts";
import type { Batch, PodKind } from "./kinds.ts";
import type { Left, Turn } from "./turn.ts";

/** How a tenant's kinds are taken in one pass. */
export interface Variant {
  readonly batches: readonly Batch[];
  /** Machines are chosen by the least waste, not by how many of those who still wait they have room for. */
  readonly snug: boolean;
}

/** What a pass came to. */
export interface Score {
  /** Pods with a place, by priority, the highest first. */
  readonly placed: readonly number[];
  /** The same by kind, in the tenants' own order. */
  readonly ranked: readonly number[];
  /** Opened for it. */
  readonly machines: number;
  /** Of these machines: what their accelerators, their cost, their memory and their processors come to. */
  readonly waste: readonly number[];
  /** No order could do better. */
  readonly perfect: boolean;
}

/** Pods times pods times orders: with every pod that waits, a pass costs more and orders are worth less. */
const EFFORT = 4_000;
const MOST_ORDERS = 64;
/** Up to so many pods, so many orders at least: what one order opens for ever anew, another settles. */
const FEW_PODS = 40;
const LEAST_ORDERS = 16;
/** So many orders in vain are enough. */
export const PATIENCE = 20;

/** How many orders a plan tries. Gangs have one: theirs. */
export function ordersToTry(demands: readonly Demand[]): number {
  const kinds = demands.flatMap((demand) => demand.kinds);
  const pods = kinds.reduce((sum, kind) => sum + kind.pods.length, 0);
  if (kinds.filter((kind) => kind.gang === undefined).length < 2) return 1;
  return Math.min(MOST_ORDERS, Math.max(pods <= FEW_PODS ? LEAST_ORDERS : 0, Math.floor(EFFORT / Math.max(1, pods * pods))));
}

/** The nth way to take a tenant's kinds: the first is the usual one, the others change the order among equals in rank. */
export function variantOf({ batches }: Demand, nth: number): Variant {
  if (nth === 0) return { batches, snug: false };
  const random = seededRandom(nth);
  const sorted: Batch[] = [];
  for (let from = 0; from < batches.length; ) {
    let to = from + 1;
    while (to < batches.length && sameRank(batches[from] as Batch, batches[to] as Batch)) to += 1;
    const part = batches.slice(from, to).map((batch) => ({ batch, at: random() }));
    for (const { batch } of part.sort((a, b) => a.at - b.at)) sorted.push(batch);
    from = to;
  }
  return { batches: eldestFirst(sorted), snug: nth % 2 === 1 };
}

/** The pods of a kind one after the other, whatever comes between them. */
function eldestFirst(batches: readonly Batch[]): Batch[] {
  const skips = new Map<PodKind, number>();
  return batches.map(({ kind, most }) => {
    const skip = skips.get(kind) ?? 0;
    skips.set(kind, skip + most);
    return { kind, skip, most };
  });
}

/** Priority and gangs come first whatever the order. */
function sameRank({ kind: a }: Batch, { kind: b }: Batch): boolean {
  return a.gang === undefined && b.gang === undefined && a.priority === b.priority;
}

export function scoreOf(turns: readonly Turn[]): Score {
  const placed = new Map<number, number>();
  const ranked = new Map<PodKind, number>();
  let machines = 0;
  let perfect = true;
  const waste = [0, 0, 0, 0];
  for (const turn of turns) {
    const { cluster } = turn;
    for (const kind of cluster.demand.kinds) {
      ranked.set(kind, 0);
      if (!placed.has(kind.priority)) placed.set(kind.priority, 0);
    }
    let opened = 0;
    for (const { here, opening } of cluster.sites.all) {
      for (const { kind, pods } of here) {
        placed.set(kind.priority, (placed.get(kind.priority) ?? 0) + pods.length);
        ranked.set(kind, (ranked.get(kind) ?? 0) + pods.length);
      }
      // a claim of an earlier pass is a node that comes, as it is for who plans next
      if (!opening || opening.settled || here.length === 0) continue;
      const { offer } = opening;
      opened += 1;
      for (const [n, amount] of [offer.accelerators, offer.cost, offer.memory, offer.cpu].entries()) waste[n] = (waste[n] ?? 0) + amount;
    }
    machines += opened;
    perfect &&= turn.left.every((left) => isHopeless(turn, left)) && turn.rest.length === 0 && opened <= leastOf(turn);
  }
  const byPriority = [...placed].sort(([a], [b]) => b - a).map(([, count]) => count);
  return { placed: byPriority, ranked: [...ranked.values()], machines, waste, perfect };
}

/** Whether nothing a tenant has or could open is for a kind, whatever else is planned. */
function isHopeless({ cluster }: Turn, { kind }: Left): boolean {
  const { demand, sites } = cluster;
  return (
    !kind.request ||
    (demand.outlets.every(({ outlet }) => outlet.verdict(kind.needs).machines === 0) &&
      !sites.all.some((site) => site.kind.suits(kind.needs)))
  );
}

/** So many machines at least must be opened for what a tenant's pods ask for in all. */
function leastOf({ cluster }: Turn): number {
  const { demand, sites } = cluster;
  const places = sites.all.some(({ opening }) => !opening || opening.settled);
  return places || demand.kinds.every(({ request }) => !request) ? 0 : 1;
}

export function beats(a: Score, b: Score): boolean {
  const [one, other] = [a, b].map(({ placed, ranked, machines, waste }) => [
    ...placed.map((count) => -count),
    machines,
    ...ranked.map((count) => -count),
    ...waste,
  ]);
  for (const [n, amount] of (one ?? []).entries()) {
    const against = other?.[n] ?? 0;
    if (amount !== against) return amount < against;
  }
  return false;
}

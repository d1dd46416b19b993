import { order } from "../plan/index.ts";
import { allowed, type Budgets } from "./budgets.ts";

/** A claim's node as the decision sees it. */
export interface DisruptionNode {
  readonly claim: string;
  readonly pool: string;
  readonly initialized: boolean;
  /** On its way out already. */
  readonly leaving: boolean;
  /** Only daemons and static pods run there. */
  readonly empty: boolean;
  /** Since when nothing came or went; counts only while it is empty. */
  readonly quietSince: Date;
  /** A pending pod is expected there. */
  readonly wanted: boolean;
  /** Somebody asked to leave it alone. */
  readonly doNotDisrupt: boolean;
  readonly created: Date;
  /** Infinity for never. */
  readonly expireAfterMs: number;
}

export interface DisruptionPool {
  readonly name: string;
  /** Infinity for never. */
  readonly consolidateAfterMs: number;
  readonly budgets?: Budgets;
}

export interface DisruptionWorld {
  readonly pools: readonly DisruptionPool[];
  readonly nodes: readonly DisruptionNode[];
}

export interface Disruption {
  readonly claim: string;
  readonly reason: "Empty" | "Expired";
  readonly message: string;
}

export interface Disruptions {
  readonly now: readonly Disruption[];
  /** Nodes that would go but may not yet, with what keeps them. */
  readonly held: readonly { readonly claim: string; readonly reason: string }[];
  /** When the next node may be due, if nothing changes. */
  readonly next?: Date;
}

/** Which nodes to give back now. Pure: time is an argument. The longest empty goes first, then by name. */
export function disruptions(world: DisruptionWorld, now: Date): Disruptions {
  const pools = new Map(world.pools.map((pool) => [pool.name, pool]));
  const due: Disruption[] = [];
  const held: { claim: string; reason: string }[] = [];
  const later: number[] = [];
  const expired = (node: DisruptionNode) => node.created.getTime() + node.expireAfterMs;
  const coming = (at: number) => Number.isFinite(at) && later.push(at);
  const staying = world.nodes.filter((node) => !node.leaving);
  for (const node of [...staying].sort((a, b) => order(a.claim, b.claim))) {
    // forceful, as Karpenter's: no budget and no wish keeps a node that is past its time
    if (expired(node) <= now.getTime()) due.push({ claim: node.claim, reason: "Expired", message: "its expireAfter is over" });
    else coming(expired(node));
  }
  const gone = new Set(due.map((one) => one.claim));
  for (const node of [...staying].sort((a, b) => order(a.quietSince.getTime(), b.quietSince.getTime()) || order(a.claim, b.claim))) {
    const pool = pools.get(node.pool);
    if (!pool || gone.has(node.claim) || !node.initialized || !node.empty || node.wanted) continue;
    const at = node.quietSince.getTime() + pool.consolidateAfterMs;
    if (at > now.getTime()) {
      coming(at);
      continue;
    }
    const keeps = node.doNotDisrupt ? "karpenter.sh/do-not-disrupt" : overBudget(pool, world.nodes, gone);
    if (keeps === undefined) {
      due.push({ claim: node.claim, reason: "Empty", message: "nothing has run on it for the pool's consolidateAfter" });
      gone.add(node.claim);
    } else {
      held.push({ claim: node.claim, reason: keeps });
    }
  }
  return { now: due, held, ...(later.length > 0 ? { next: new Date(Math.min(...later)) } : {}) };
}

function overBudget(pool: DisruptionPool, nodes: readonly DisruptionNode[], gone: ReadonlySet<string>): string | undefined {
  const mine = nodes.filter((node) => node.pool === pool.name && node.initialized);
  const going = mine.filter((node) => node.leaving || gone.has(node.claim)).length;
  const most = allowed(pool.budgets, "Empty", mine.length);
  return going < most ? undefined : `the pool's disruption budget (${most} of ${mine.length} nodes)`;
}

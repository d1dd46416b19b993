import { LABEL_INSTANCE_TYPE } from "../../core/names.ts";
import type { PoolRefusal, Refusal } from "./answer.ts";
import { openable, refusal } from "./choose.ts";
import type { PodKind } from "./kinds.ts";
import { NEW_HOST, Neighbours } from "./neighbours.ts";
import { order } from "./order.ts";
import { KEPT, type Offer, type Outlet } from "./outlet.ts";
import { stagesOf } from "./stages.ts";
import type { Left, Turn } from "./turn.ts";
import type { PoolWorld } from "./world.ts";

/** Why the pods of a tenant that found no place must wait, kind by kind. */
export function refusalsOf(turn: Turn): Refusal[] {
  const { demand } = turn.cluster;
  const { tenant } = demand.world;
  const never = demand.unplannable.map((kind) => ({
    tenant,
    pods: kind.keys,
    reason: kind.problem ?? "",
    pools: [],
    ...(kind.gang === undefined ? {} : { gang: kind.gang }),
  }));
  return [...never, ...turn.left.map((left) => refusalOf(turn, left))];
}

function refusalOf(turn: Turn, { kind, from, reason, hint, held = [] }: Left): Refusal {
  const stage = stagesOf(kind, turn.goal.preferences, turn.cluster.demand.steering).at(-1);
  const neighbours = stage && new Neighbours(turn.cluster, kind, stage, openable(turn.cluster, kind, turn.goal));
  const told = turn.cluster.demand.outlets.map(({ pool, outlet }) => ofPool(turn, kind, pool, outlet, neighbours));
  const pools = told.map((one) => one.refusal);
  const lead = reason ?? leadOf(turn, kind, told);
  const help = hint ?? quotaHint(turn, kind);
  return {
    tenant: turn.cluster.demand.world.tenant,
    pods: from === 0 ? kind.keys : kind.keys.slice(from),
    reason: [
      ...(lead === undefined ? [] : [lead]),
      pools.length === 0 ? "no NodePool serves this tenant" : pools.map(poolText).join("; "),
      ...held,
    ].join("; "),
    pools,
    ...(kind.gang === undefined ? {} : { gang: kind.gang }),
    ...(help === undefined ? {} : { hint: help }),
  };
}

/** The smallest change of a quota that would help, where it is quota that keeps free machines from a kind. */
function quotaHint(turn: Turn, kind: PodKind): string | undefined {
  for (const { pool, outlet } of turn.cluster.demand.outlets) {
    if (pool.problem !== undefined || pool.replicas !== undefined) continue;
    for (const { lot } of outlet.verdict(kind.needs).offers) {
      if (lot.like.unavailable !== undefined || turn.goal.fleet.available(lot, 1) === 0) continue;
      const hint = turn.goal.referee.hint(turn.cluster, lot);
      if (hint !== undefined) return hint;
    }
  }
  return undefined;
}

interface Told {
  readonly refusal: PoolRefusal;
  /** Machine types it could run on, with how many are free. */
  readonly types: ReadonlyMap<string, { readonly free: number; readonly all: number }>;
  /** What keeps it from those that are free. */
  readonly kept: ReadonlySet<string>;
  /** Whether a machine with accelerators is free, and kept for others. */
  readonly spared: boolean;
}

function ofPool(turn: Turn, kind: PodKind, pool: PoolWorld, outlet: Outlet, neighbours: Neighbours | undefined): Told {
  const { offers, kept: spared, because } = outlet.verdict(kind.needs);
  const counts = new Map(because.map(({ reason, count }) => [reason, count]));
  const types = new Map<string, { free: number; all: number }>();
  const kept = new Set<string>();
  const say = (reason: string, count: number) => {
    if (count > 0) counts.set(reason, (counts.get(reason) ?? 0) + count);
  };
  const problem = pool.problem ?? (pool.replicas === undefined ? undefined : "has a fixed size: pods use its nodes and never add to them");
  for (const offer of problem === undefined ? offers : []) {
    const { lot } = offer;
    const free = lot.endless ? 1 : lot.free.length;
    const type = typeOf(offer);
    const known = types.get(type);
    types.set(type, { free: (known?.free ?? 0) + free, all: (known?.all ?? 0) + lot.size });
    if (lot.like.unavailable === undefined) say("in use", lot.size - free);
    const reason =
      refusal(turn.cluster, kind, pool, outlet, offer, turn.goal) ?? blocked(turn, outlet, offer, neighbours, kind.gang !== undefined);
    if (lot.like.unavailable !== undefined) say(lot.like.unavailable, lot.size);
    else if (free > 0) {
      say(reason, free);
      kept.add(reason);
    }
  }
  return {
    refusal: {
      pool: pool.name,
      machineClass: pool.machineClass.name,
      ...(problem === undefined ? {} : { problem }),
      machines: outlet.machines,
      because: [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count || order(a.reason, b.reason)),
    },
    types,
    kept,
    spared: problem === undefined && spared.some(({ lot }) => turn.goal.fleet.available(lot, 1) > 0),
  };
}

function typeOf(offer: Offer): string {
  const type = offer.labels(LABEL_INSTANCE_TYPE);
  return typeof type === "string" ? type : "any";
}

function blocked(turn: Turn, outlet: Outlet, offer: Offer, neighbours: Neighbours | undefined, gang: boolean): string {
  const { demand } = turn.cluster;
  const place = demand.classOf(offer, outlet, demand.openOf(offer));
  if (neighbours && neighbours.cap(place, NEW_HOST) <= 0) return neighbours.why(place, NEW_HOST);
  return gang ? "free, but no place for the whole gang" : "free only after this plan";
}

const UNKNOWN = " has no known values";
const ACCELERATORS = "only accelerator hosts left";

/** What another pool says that does know the label. */
function otherwise(reason: string): string {
  return reason.replace(/^label /, "does not match on ").replace(UNKNOWN, "");
}

/** The one thing to know first. */
function leadOf(turn: Turn, kind: PodKind, told: readonly Told[]): string | undefined {
  if (kind.priority < turn.goal.expendableBelow) return "expendable pods buy nothing";
  const types = new Map<string, { free: number; all: number }>();
  for (const one of told) {
    for (const [type, { free, all }] of one.types) {
      const known = types.get(type);
      types.set(type, { free: Math.max(known?.free ?? 0, free), all: Math.max(known?.all ?? 0, all) });
    }
  }
  if (types.size > 0 && [...types.values()].every(({ free }) => free === 0)) {
    const list = [...types].sort(([a], [b]) => order(a, b)).map(([type, { free, all }]) => `type ${type}: ${free} of ${all}`);
    const all = `no free host (${list.slice(0, 5).join(", ")}${list.length > 5 ? ", …" : ""})`;
    return told.some((one) => one.spared) ? `${all}; ${ACCELERATORS}` : all;
  }
  const reasons = told.flatMap((one) => one.refusal.because.map(({ reason }) => reason));
  if (types.size === 0 && reasons.includes(KEPT)) return ACCELERATORS;
  const unknown = reasons.find((reason) => reason.endsWith(UNKNOWN) && !reasons.includes(otherwise(reason)));
  if (types.size === 0 && unknown !== undefined) return unknown;
  const [first, ...others] = [...new Set(told.flatMap((one) => [...one.kept]))].sort();
  return others.length === 0 ? first : undefined;
}

/** `pool gpu: 0/2 machines: 1 in use, 1 lacks nvidia.com/gpu` */
function poolText(pool: PoolRefusal): string {
  if (pool.problem !== undefined) return `pool ${pool.pool}: ${pool.problem}`;
  if (pool.machines === 0) return `pool ${pool.pool}: class ${pool.machineClass} selects no machine`;
  return `pool ${pool.pool}: 0/${pool.machines} machines: ${pool.because.map((one) => `${one.count} ${one.reason}`).join(", ")}`;
}

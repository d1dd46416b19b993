import { timesIn } from "./amounts.ts";
import { openable, refusal } from "./choose.ts";
import { type Berths, placeGang as domainsFor, type GangPlace, type GangShort, LEVELS } from "./gang-domains.ts";
import type { PodKind } from "./kinds.ts";
import { NEW_HOST, Neighbours } from "./neighbours.ts";
import type { Within } from "./placing.ts";
import { stagesOf } from "./stages.ts";
import type { Labels } from "./terms.ts";
import type { Left, Portion, Turn } from "./turn.ts";
import type { Gang, GangTopology } from "./world.ts";

/** How often domains are chosen anew because neighbours, limits or quota left less room than there seemed to be. */
const MOST_TRIES = 12;

/** What a gang got, or why nothing. */
export type GangOutcome =
  | { readonly placed: readonly number[]; readonly more: readonly Portion[] }
  | { readonly reason: string; readonly hint?: string };

/** All members or none; those beyond its minimum come as turns come. @returns whether a machine was opened */
export function placeGang(turn: Turn, name: string): boolean {
  const opened = turn.pass.opened;
  const kinds = turn.membersOf(name);
  const mark = turn.cluster.mark();
  const { referee } = turn.pass;
  const owner = referee.isBelow(turn.cluster) && !turn.cluster.borrows;
  const outcome = tryGang(turn, name, kinds);
  if (owner && referee.isBeyond(turn.cluster)) {
    turn.back(mark, opened);
    turn.again(kinds);
    turn.cluster.borrows = true;
    return true;
  }
  turn.cluster.borrows = false;
  if ("placed" in outcome) turn.grow(outcome.more);
  turn.left.push(...leftOf(kinds, outcome));
  return turn.pass.opened > opened;
}

/** Places a gang whole, or leaves everything as it was. */
export function tryGang(turn: Turn, name: string, kinds: readonly PodKind[]): GangOutcome {
  const mark = turn.cluster.mark();
  const opened = turn.pass.opened;
  const gang = gangOf(turn, name, kinds);
  const outcome = gang.topology === undefined ? anywhere(turn, gang, kinds) : inDomains(turn, gang, gang.topology, kinds);
  if ("reason" in outcome) {
    turn.back(mark, opened);
  }
  return outcome;
}

/** A gang nobody declared is all the pods that name it. */
export function gangOf(turn: Turn, name: string, kinds: readonly PodKind[]): Gang {
  const declared = turn.cluster.demand.world.gangs?.find((one) => one.name === name);
  const all = kinds.reduce((sum, kind) => sum + kind.pods.length, 0) + runningOf(turn, name).reduce((sum, one) => sum + one.members, 0);
  return declared ?? { name, min: all, size: all };
}

/** What of a gang has no place, and does not come later. */
export function leftOf(kinds: readonly PodKind[], outcome: GangOutcome): Left[] {
  return kinds.flatMap((kind, n): Left[] => {
    if (!("placed" in outcome))
      return [{ kind, from: 0, reason: outcome.reason, ...(outcome.hint === undefined ? {} : { hint: outcome.hint }) }];
    const later = outcome.more.filter((one) => one.kind === kind).map(({ skip, most }) => skip + most);
    const from = Math.max(outcome.placed[n] ?? 0, ...later);
    if (from >= kind.pods.length) return [];
    return [{ kind, from, reason: `gang ${kind.gang} has as many members as there is room for` }];
  });
}

/** Members that run, by the domains of their nodes. */
export function runningOf(turn: Turn, name: string): { readonly members: number; readonly domains: Readonly<Record<string, string>> }[] {
  return turn.cluster.demand.nodes.flatMap(({ node, labels }) => {
    const members = (node.pods ?? []).filter((pod) => pod.gang === name).length;
    return members === 0 ? [] : [{ members, domains: domainsOf(labels, [...LEVELS, ...levelsOf(turn, name)]) }];
  });
}

function levelsOf(turn: Turn, name: string): readonly string[] {
  const topology = turn.cluster.demand.world.gangs?.find((one) => one.name === name)?.topology;
  return topology === undefined ? [] : own(topology);
}

function own({ required, preferred, slice }: GangTopology): string[] {
  return [slice?.level, preferred, required].filter((level) => level !== undefined);
}

function anywhere(turn: Turn, gang: Gang, kinds: readonly PodKind[]): GangOutcome {
  const running = runningOf(turn, gang.name).reduce((sum, one) => sum + one.members, 0);
  const [only, ...others] = kinds;
  let left = Math.max(0, (others.length > 0 ? gang.size : gang.min) - running);
  const placed = kinds.map((kind) => {
    const count = turn.place(kind, { most: left });
    left -= count;
    return count;
  });
  const all = placed.reduce((sum, count) => sum + count, 0) + running;
  if (all < gang.min) return refused(gang, { fits: all, needs: gang.min }, limitOf(turn, kinds));
  const skip = placed[0] ?? 0;
  const most = Math.min(gang.size - all, (only?.pods.length ?? 0) - skip);
  return { placed, more: only && others.length === 0 && most > 0 ? [{ kind: only, skip, most, grows: true }] : [] };
}

/**
 * The kind that is first in order chooses the domains, by the room there is; the others join it in its required domain.
 * Where less fits than it seemed, the domain counts for less and the choice is made again.
 */
function inDomains(turn: Turn, gang: Gang, topology: GangTopology, kinds: readonly PodKind[]): GangOutcome {
  const [lead, ...others] = kinds;
  if (!lead) return { placed: [], more: [] };
  const grows = others.length === 0 && topology.slice === undefined;
  const running = runningOf(turn, gang.name);
  const companions = others.reduce((sum, kind) => sum + kind.pods.length, 0);
  const started = running.reduce((sum, one) => sum + one.members, 0);
  const most = started + lead.pods.length;
  let size = Math.min(gang.size - companions, most);
  const min = others.length > 0 ? most : Math.min(gang.min, most);
  let berths = berthsOf(turn, lead, topology);
  let short: GangShort = { fits: 0, needs: min };
  let why: string | undefined;
  for (let nth = 0; nth < MOST_TRIES && size >= min; nth += 1) {
    const place = domainsFor({ min, size, topology, running }, berths);
    if ("fits" in place) return refused(gang, nth > 0 && place.fits < short.fits ? short : place, why ?? limitOf(turn, kinds));
    const mark = turn.cluster.mark();
    const opened = turn.pass.opened;
    const parts = partsOf(place, berths, topology);
    let skip = 0;
    let failed: { readonly part: Part; readonly got: number } | undefined;
    let due = grows ? Math.max(0, min - started) : Number.POSITIVE_INFINITY;
    const more: Portion[] = [];
    for (const part of parts) {
      const now = Math.min(due, part.members);
      const got = now > 0 ? turn.place(lead, { skip, most: now, within: part.within }) : 0;
      skip += got;
      due -= got;
      if (got < now) failed = { part, got };
      if (failed) break;
      if (now < part.members) more.push({ kind: lead, skip: 0, most: part.members - now, within: part.within, grows: true });
    }
    if (!failed) {
      const within = parts[0] && topology.required !== undefined ? inside(parts[0].domains, [topology.required]) : undefined;
      const joined = others.map((kind) => turn.place(kind, within ? { within } : {}));
      const all = started + skip + joined.reduce((sum, count) => sum + count, 0);
      if (all >= gang.min && (others.length === 0 || all === most + companions))
        return { placed: [skip, ...joined], more: inTurn(more, skip) };
      failed = { part: parts[0] ?? { members: 0, ids: [], domains: {}, within: () => true }, got: 0 };
    }
    // where nothing more may be opened at all, no other domain gets more new machines than this one did
    const machines = openable(turn.cluster, lead, turn.goal).length === 0 ? turn.pass.opened - opened : Number.POSITIVE_INFINITY;
    why ??= limitOf(turn, kinds);
    if (started + skip > short.fits) short = { fits: started + skip, needs: gang.min, ...place.within };
    turn.back(mark, opened);
    berths = opening(machines, less(berths, failed.part, failed.got));
    size = Math.min(size, started + roomIn(berths, machines));
  }
  return refused(gang, short, why);
}

/** One after the other, beginning with the pods that have no place yet. */
function inTurn(portions: readonly Portion[], from: number): Portion[] {
  let skip = from;
  return portions.map((one) => {
    skip += one.most;
    return { ...one, skip: skip - one.most };
  });
}

/** Where members could go: each place there is, and machines that could be opened, by lot. */
function berthsOf(turn: Turn, kind: PodKind, topology: GangTopology): readonly Berths[] {
  const { cluster, goal } = turn;
  const { request } = kind;
  if (!request) return [];
  const levels = [...new Set([...LEVELS, ...own(topology)])];
  const offers = openable(cluster, kind, goal);
  const stages = stagesOf(kind, goal.preferences, cluster.demand.steering);
  const last = stages[stages.length - 1];
  if (!last) return [];
  const neighbours = new Neighbours(cluster, kind, last, offers);
  const most = kind.pods.length;
  const berths: Berths[] = [];
  for (const site of cluster.sites.all) {
    goal.work.done += 1;
    const room = Math.min(cluster.room(kind, site, most), kind.oneEach ? 1 : most, neighbours.cap(site.kind, site.index));
    if (room > 0)
      berths.push({
        id: `site ${site.index}`,
        count: 1,
        room,
        opens: false,
        stage: 0,
        readyInS: 0,
        domains: domainsOf(site.kind.labels, levels),
      });
  }
  const seen = new Set<number>();
  const pools = [...new Set(offers.map((one) => one.pool))];
  for (const { pool, outlet, offer } of offers) {
    if (seen.has(offer.lot.id)) continue;
    seen.add(offer.lot.id);
    const place = cluster.demand.classOf(offer, outlet, cluster.demand.openOf(offer));
    const room = Math.min(timesIn(offer.free, 0, request, kind.oneEach ? 1 : most), neighbours.cap(place, NEW_HOST));
    const { readyInS = 0, failures } = offer.lot.like;
    const late = readyInS > 0 ? 2 : failures ? 1 : 0;
    const free = goal.fleet.available(offer.lot, offer.lot.endless ? most : offer.lot.size);
    const wanted = Math.min(free, most);
    const allowed = goal.referee.most(cluster, offer.lot, wanted);
    const count = allowed < wanted ? allowed : free;
    const stage = 1 + pools.indexOf(pool) * 3 + late;
    if (room > 0 && count > 0)
      berths.push({ id: `lot ${offer.lot.id}`, count, room, opens: true, stage, readyInS, domains: domainsOf(place.labels, levels) });
  }
  return berths;
}

function domainsOf(labels: Labels, levels: readonly string[]): Readonly<Record<string, string>> {
  const named = levels.flatMap((level): [string, string][] => {
    const value = labels(level);
    return typeof value === "string" ? [[level, value]] : [];
  });
  return Object.fromEntries(named);
}

/** Members that go to one domain. */
interface Part {
  readonly members: number;
  readonly ids: readonly string[];
  readonly domains: Readonly<Record<string, string>>;
  readonly within: Within;
}

function partsOf(place: GangPlace, berths: readonly Berths[], topology: GangTopology): Part[] {
  const levels = [...new Set([...own(topology), ...(place.within ? [place.within.level] : [])])];
  const of = new Map(berths.map((one) => [one.id, one]));
  const parts = new Map<string, { members: number; ids: string[]; domains: Readonly<Record<string, string>> }>();
  for (const { id, members } of place.picks) {
    const domains = of.get(id)?.domains ?? {};
    const key = JSON.stringify(levels.map((level) => domains[level] ?? null));
    const part = parts.get(key) ?? { members: 0, ids: [], domains };
    parts.set(key, { ...part, members: part.members + members, ids: [...part.ids, id] });
  }
  return [...parts.values()].map((part) => ({ ...part, within: inside(part.domains, levels) }));
}

function inside(domains: Readonly<Record<string, string>>, levels: readonly string[]): Within {
  return (labels) => levels.every((level) => labels(level) === domains[level]);
}

/** The berths as they turned out to be: of those of a part, room for so many only. */
function less(berths: readonly Berths[], { ids }: Part, got: number): readonly Berths[] {
  let left = got;
  return berths.flatMap((one) => {
    if (!ids.includes(one.id)) return [one];
    const count = Math.min(one.count, Math.floor(left / one.room));
    left -= count * one.room;
    return count > 0 ? [{ ...one, count }] : [];
  });
}

/** The berths when so many machines at most are opened. */
function opening(most: number, berths: readonly Berths[]): readonly Berths[] {
  return berths.flatMap((one) => (one.opens && one.count > most ? (most > 0 ? [{ ...one, count: most }] : []) : [one]));
}

/** How many members there is room for at most, in all domains together, when so many machines are opened. */
function roomIn(berths: readonly Berths[], most: number): number {
  let there = 0;
  let opened = 0;
  let largest = 0;
  for (const { opens, count, room } of berths) {
    if (!opens) there += count * room;
    else {
      opened += count * room;
      largest = Math.max(largest, room);
    }
  }
  return there + Math.min(opened, most === Number.POSITIVE_INFINITY ? opened : most * largest);
}

function refused(gang: Gang, short: GangShort, why: string | undefined): GangOutcome {
  const { fits, needs, level, domain } = short;
  const where = level === undefined ? "" : `, at most in one ${shortName(level)}${domain === undefined ? "" : ` (${domain})`}`;
  const missing = needs - fits;
  return {
    reason: `gang ${gang.name} starts whole or not at all: it needs ${needs} places at once, there are ${fits}${where}${why === undefined ? "" : `; ${why}`}`,
    hint:
      why ??
      `${missing} more ${missing === 1 ? "place" : "places"}${domain === undefined ? "" : ` in ${shortName(level ?? "")} ${domain}`}`,
  };
}

/** What keeps free machines that suit from it: quota, a limit, a reservation. */
function limitOf(turn: Turn, kinds: readonly PodKind[]): string | undefined {
  const { cluster, goal } = turn;
  for (const kind of kinds) {
    for (const { pool, outlet } of cluster.demand.outlets) {
      if (pool.problem !== undefined || pool.replicas !== undefined) continue;
      for (const offer of outlet.verdict(kind.needs).offers) {
        if (offer.lot.like.unavailable !== undefined || goal.fleet.available(offer.lot, 1) === 0) continue;
        const why = refusal(cluster, kind, pool, outlet, offer, goal);
        if (why !== undefined) return why;
      }
    }
  }
  return undefined;
}

function shortName(level: string): string {
  return level.slice(level.lastIndexOf("/") + 1);
}

import { LABEL_BLOCK, LABEL_HOSTNAME, LABEL_LEAF, LABEL_NVLINK, LABEL_RACK, LABEL_SITE } from "../../core/names.ts";
import type { GangTopology } from "./world.ts";

/**
 * Where a gang goes: all of it or none. Levels of topology are node labels; a domain is one value of a level.
 *
 * The gang takes as many members as some domain of its required level holds, at least its minimum. Then it looks for one
 * domain that holds them all, from its preferred level up to the required one; of several, the fullest that still fits.
 * Where none does, it uses the fewest domains of its preferred level. Slices are whole in one domain each.
 */

/** Levels from narrow to wide. Others may be named: each of those stands alone. */
export const LEVELS: readonly string[] = [
  LABEL_HOSTNAME,
  LABEL_NVLINK,
  LABEL_LEAF,
  LABEL_RACK,
  LABEL_BLOCK,
  LABEL_SITE,
  "topology.kubernetes.io/region",
];

/** Equal places for members: machines that could be claimed, or one node. */
export interface Berths {
  /** What the caller knows them by. */
  readonly id: string;
  /** How many of them there are. */
  readonly count: number;
  /** Members that fit on each. */
  readonly room: number;
  /** Whether using one claims a machine. */
  readonly opens: boolean;
  /** Lower ones are used up first: nodes that exist, free machines, those that failed lately, those on their way out. */
  readonly stage: number;
  /** Seconds until a member could go there; 0 is now. */
  readonly readyInS: number;
  /** The domain at each level. */
  readonly domains: Readonly<Record<string, string>>;
}

export interface GangWish {
  /** Fewer members than this are worth nothing. */
  readonly min: number;
  /** As many as there are, up to this. */
  readonly size: number;
  readonly topology: GangTopology;
  /** Members that run already, by the places they have. */
  readonly running: readonly { readonly members: number; readonly domains: Readonly<Record<string, string>> }[];
}

export interface Pick {
  readonly id: string;
  /** How many of the equal places. */
  readonly places: number;
  /** Over these places together. */
  readonly members: number;
}

export interface GangPlace {
  readonly members: number;
  readonly opened: number;
  readonly picks: readonly Pick[];
  /** The narrowest level of which one domain holds it all, with the domain. */
  readonly within?: { readonly level: string; readonly domain: string };
}

/** What was missing: `fits` of the `needs` members have room in the best domain. */
export interface GangShort {
  readonly fits: number;
  readonly needs: number;
  readonly level?: string;
  readonly domain?: string;
  /** A slice that lost members has no room for their replacement in its domain. */
  readonly broken?: true;
}

/** Places for the members that do not run yet, or what is missing. Ties fall to the first domain by name, the first berths as given. */
export function placeGang(wish: GangWish, berths: readonly Berths[]): GangPlace | GangShort {
  const started = wish.running.reduce((sum, one) => sum + one.members, 0);
  const fixed = homeOf(wish);
  const usable = fixed ? berths.filter((one) => one.domains[fixed.level] === fixed.domain) : berths;
  const mended = mend(wish, usable);
  if ("fits" in mended) return mended;
  const done = started + mended.members;
  const step = wish.topology.slice?.size ?? 1;
  const least = Math.ceil(Math.max(0, wish.min - done) / step);
  const most = Math.ceil(Math.max(0, wish.size - done) / step);
  const search = new Search(wish.topology, mended.rest);
  const found = most === 0 ? NOTHING : search.best(least, most, homes(wish));
  if ("fits" in found) {
    const needs = Math.max(wish.min - started, mended.members + found.needs * step);
    return { ...found, fits: mended.members + found.fits * step, needs };
  }
  const picks = merged([...mended.picks, ...trim(found.picks, wish.size - done)]);
  const opening = new Set(berths.filter((one) => one.opens).map((one) => one.id));
  return {
    members: picks.reduce((sum, one) => sum + one.members, 0),
    opened: picks.reduce((sum, one) => sum + (opening.has(one.id) ? one.places : 0), 0),
    picks,
    ...(found.within === undefined ? {} : { within: found.within }),
  };
}

const NOTHING: { readonly picks: readonly Pick[]; readonly within?: GangPlace["within"] } = { picks: [] };

/** The domain of the required level where the running members are: the others must join them. */
function homeOf(wish: GangWish): { level: string; domain: string } | undefined {
  const level = wish.topology.required;
  if (level === undefined) return undefined;
  const domain = wish.running.find((one) => one.members > 0 && one.domains[level] !== undefined)?.domains[level];
  return domain === undefined ? undefined : { level, domain };
}

/** Per level, the one domain where all running members are. */
function homes(wish: GangWish): ReadonlyMap<string, string> {
  const [first, ...others] = wish.running.filter((one) => one.members > 0);
  const shared = Object.entries(first?.domains ?? {}).filter(([level, domain]) => others.every((one) => one.domains[level] === domain));
  return new Map(shared);
}

interface Mended {
  readonly members: number;
  readonly picks: readonly Pick[];
  readonly rest: readonly Berths[];
}

/** First the slices that lost members: each is completed in its own domain. */
function mend(wish: GangWish, berths: readonly Berths[]): Mended | GangShort {
  const { slice } = wish.topology;
  if (!slice) return { members: 0, picks: [], rest: berths };
  const running = new Map<string, number>();
  for (const one of wish.running) {
    const domain = one.domains[slice.level];
    if (domain !== undefined) running.set(domain, (running.get(domain) ?? 0) + one.members);
  }
  let rest = berths;
  const picks: Pick[] = [];
  let members = 0;
  for (const [domain, count] of [...running].sort(byName)) {
    const missing = (slice.size - (count % slice.size)) % slice.size;
    if (missing === 0) continue;
    const here = rest.filter((one) => one.domains[slice.level] === domain);
    const room = roomIn(here);
    if (room < missing) return { fits: room, needs: missing, level: slice.level, domain, broken: true };
    const taken = takeBerths(here, missing);
    picks.push(...taken);
    rest = without(rest, taken);
    members += missing;
  }
  return { members, picks, rest };
}

/** One search over one set of berths; amounts are in units: members, or whole slices. */
class Search {
  private readonly topology: GangTopology;
  private readonly berths: readonly Berths[];

  constructor(topology: GangTopology, berths: readonly Berths[]) {
    this.topology = topology;
    this.berths = berths.filter((one) => one.room > 0 && one.count > 0);
  }

  best(least: number, most: number, homes: ReadonlyMap<string, string>): typeof NOTHING | GangShort {
    const { required, preferred } = this.topology;
    const outer = required === undefined ? [everywhere(this.berths)] : domainsOf(this.berths, required);
    const sized = outer.map((domain) => ({ ...domain, units: this.units(domain.berths) }));
    const top = sized.reduce<(typeof sized)[number] | undefined>((a, b) => (a && a.units >= b.units ? a : b), undefined);
    const target = Math.min(most, top?.units ?? 0);
    if (target < least || top === undefined) {
      return { fits: target, needs: least, ...(required === undefined || top === undefined ? {} : { level: required, domain: top.name }) };
    }
    const roomy = sized.filter((domain) => domain.units >= target);
    for (const level of climb(preferred, required)) {
      const inside = roomy.flatMap((domain) => domainsOf(domain.berths, level));
      const found = this.choose(inside, target, this.below(level), homes.get(level));
      if (found) return { picks: found.picks, within: { level, domain: found.name } };
    }
    const found = this.choose(roomy, target, this.below(required), required === undefined ? undefined : homes.get(required));
    if (!found) return { fits: 0, needs: least };
    return { picks: found.picks, ...(required === undefined ? {} : { within: { level: required, domain: found.name } }) };
  }

  /** Of the domains that hold it: where the running members are, the fewest pieces, the soonest, the fewest new machines, the fullest, the first by name. */
  private choose(domains: readonly Domain[], target: number, below: readonly string[], home: string | undefined): Chosen | undefined {
    let best: Chosen | undefined;
    for (const domain of domains) {
      const units = this.units(domain.berths);
      if (units < target) continue;
      const { picks, pieces } = this.spread(domain.berths, target, below);
      const by = new Map(domain.berths.map((one) => [one.id, one]));
      const used = picks.map((pick) => ({ pick, from: by.get(pick.id) }));
      const score = [
        home === undefined || home === domain.name ? 0 : 1,
        pieces,
        Math.max(0, ...used.map(({ from }) => from?.stage ?? 0)),
        Math.max(0, ...used.map(({ from }) => from?.readyInS ?? 0)),
        used.reduce((sum, { pick, from }) => sum + (from?.opens ? pick.places : 0), 0),
        units,
      ];
      const chosen = { name: domain.name, picks, score };
      if (!best || before(chosen, best)) best = chosen;
    }
    return best;
  }

  /** Members a domain holds, or whole slices. */
  private units(berths: readonly Berths[]): number {
    const { slice } = this.topology;
    if (!slice) return roomIn(berths);
    return domainsOf(berths, slice.level).reduce((sum, domain) => sum + Math.floor(roomIn(domain.berths) / slice.size), 0);
  }

  /** The levels by which a domain of this level is divided, from wide to narrow. */
  private below(level: string | undefined): readonly string[] {
    const { preferred, slice } = this.topology;
    const inner = preferred === undefined || level === preferred ? [] : [preferred];
    return slice && !inner.includes(slice.level) ? [...inner, slice.level] : inner;
  }

  /** `units` over the fewest domains of each level below: the emptiest first, the last part where it just fits. */
  private spread(berths: readonly Berths[], units: number, levels: readonly string[], sliced = false): { picks: Pick[]; pieces: number } {
    const { slice } = this.topology;
    const [level, ...narrower] = levels;
    const each = slice && !sliced ? slice.size : 1;
    if (level === undefined) return { picks: takeBerths(berths, units * each), pieces: 1 };
    const whole = level === slice?.level;
    const measure = (list: readonly Berths[]) => (sliced ? roomIn(list) : this.units(list));
    const open = [...domainsOf(berths, level), ...(whole ? [] : homeless(berths, level))].map((domain) => ({
      domain,
      units: measure(domain.berths),
    }));
    const picks: Pick[] = [];
    let pieces = 0;
    for (let left = units; left > 0; ) {
      const next = nextDomain(open, left);
      if (!next) break;
      const part = Math.min(left, next.units);
      const inner = this.spread(next.domain.berths, whole ? part * each : part, narrower, sliced || whole);
      picks.push(...inner.picks);
      pieces += narrower.length > 0 ? inner.pieces : 1;
      open.splice(open.indexOf(next), 1);
      left -= part;
    }
    return { picks, pieces };
  }
}

interface Domain {
  readonly name: string;
  readonly berths: readonly Berths[];
}

interface Chosen {
  readonly name: string;
  readonly picks: readonly Pick[];
  readonly score: readonly number[];
}

function everywhere(berths: readonly Berths[]): Domain {
  return { name: "", berths };
}

/** Smallest that holds all that is left; else the largest. */
function nextDomain<T extends { readonly domain: Domain; readonly units: number }>(open: readonly T[], left: number): T | undefined {
  let best: T | undefined;
  for (const one of open) {
    if (one.units === 0) continue;
    if (!best) best = one;
    else if (one.units >= left !== best.units >= left) best = one.units >= left ? one : best;
    else {
      const by = one.units >= left ? one.units - best.units : best.units - one.units;
      if (by < 0 || (by === 0 && one.domain.name < best.domain.name)) best = one;
    }
  }
  return best;
}

/** Levels from the preferred one up, without the required one. */
function climb(preferred: string | undefined, required: string | undefined): string[] {
  if (preferred === undefined || preferred === required) return [];
  const from = LEVELS.indexOf(preferred);
  const to = required === undefined ? LEVELS.length : LEVELS.indexOf(required);
  return from < 0 || to < 0 ? [preferred] : [preferred, ...LEVELS.slice(from + 1, to)];
}

function domainsOf(berths: readonly Berths[], level: string): Domain[] {
  const domains = new Map<string, Berths[]>();
  for (const one of berths) {
    const name = one.domains[level];
    if (name === undefined) continue;
    const list = domains.get(name);
    if (list) list.push(one);
    else domains.set(name, [one]);
  }
  return [...domains].map(([name, list]) => ({ name, berths: list }));
}

/** Berths without a domain at a level: the last resort of a wish, never of a requirement. */
function homeless(berths: readonly Berths[], level: string): Domain[] {
  const list = berths.filter((one) => one.domains[level] === undefined);
  return list.length === 0 ? [] : [{ name: "\u{10ffff}", berths: list }];
}

/** What is used up stage by stage; in a stage the last machine is the smallest that still holds the rest. */
function takeBerths(berths: readonly Berths[], members: number): Pick[] {
  const picks: Pick[] = [];
  let left = members;
  for (const stage of [...new Set(berths.map((one) => one.stage))].sort((a, b) => a - b)) {
    const open = berths.filter((one) => one.stage === stage && one.room > 0).map((one) => ({ one, places: one.count }));
    while (left > 0) {
      const next = nextBerth(open, left);
      if (!next) break;
      const places = next.one.room >= left ? 1 : Math.min(next.places, Math.floor(left / next.one.room));
      const taken = Math.min(left, places * next.one.room);
      picks.push({ id: next.one.id, places, members: taken });
      next.places -= places;
      left -= taken;
    }
  }
  return merged(picks);
}

function nextBerth<T extends { readonly one: Berths; readonly places: number }>(open: readonly T[], left: number): T | undefined {
  let best: T | undefined;
  for (const each of open) {
    if (each.places === 0) continue;
    if (!best || sooner(each.one.room, best.one.room, left)) best = each;
  }
  return best;
}

function sooner(room: number, than: number, left: number): boolean {
  if (room >= left !== than >= left) return room >= left;
  return room >= left ? room < than : room > than;
}

function roomIn(berths: readonly Berths[]): number {
  return berths.reduce((sum, one) => sum + one.count * one.room, 0);
}

/** A last slice may be smaller than the others: no more members than wanted. */
function trim(picks: readonly Pick[], most: number): Pick[] {
  let left = most;
  return picks.flatMap((pick) => {
    const members = Math.min(left, pick.members);
    left -= members;
    const places = members === pick.members ? pick.places : Math.ceil((pick.places * members) / pick.members);
    return members > 0 ? [{ id: pick.id, places, members }] : [];
  });
}

function merged(picks: readonly Pick[]): Pick[] {
  const all = new Map<string, Pick>();
  for (const pick of picks) {
    const known = all.get(pick.id);
    all.set(pick.id, known ? { id: pick.id, places: known.places + pick.places, members: known.members + pick.members } : pick);
  }
  return [...all.values()];
}

function without(berths: readonly Berths[], picks: readonly Pick[]): readonly Berths[] {
  const taken = new Map(picks.map((pick) => [pick.id, pick.places]));
  return berths.map((one) => (taken.has(one.id) ? { ...one, count: one.count - (taken.get(one.id) ?? 0) } : one));
}

function before(a: Chosen, b: Chosen): boolean {
  for (const [at, value] of a.score.entries()) {
    const other = b.score[at] ?? 0;
    if (value !== other) return value < other;
  }
  return a.name < b.name;
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

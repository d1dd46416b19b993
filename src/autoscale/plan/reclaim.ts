import type { Action } from "./answer.ts";
import type { Fleet } from "./fleet.ts";
import { type GangOutcome, gangOf, leftOf, runningOf, tryGang } from "./gang-turn.ts";
import type { PodKind } from "./kinds.ts";
import { order } from "./order.ts";
import type { Quotas } from "./quotas.ts";
import { breakGangs, giveBackBroken } from "./reclaim-broken.ts";
import { type Candidate, candidatesOf, choiceOf, eviction, lower, tenantOf } from "./reclaim-candidates.ts";
import { alike, type HeldAlike, withHeld } from "./reclaim-held.ts";
import { type Allowance, leastVictims, lighter, type Victim } from "./reclaim-victims.ts";
import type { Measure } from "./shares.ts";
import type { Site } from "./sites.ts";
import type { Labels } from "./terms.ts";
import type { Left, Turn } from "./turn.ts";
import type { MachineSupply, RunningPod, World } from "./world.ts";

/** What is taken from who has it. */
export interface Reclaimed {
  readonly actions: readonly Action[];
  /** Nodes, by `tenant/node`, on which nothing is planned any more, and for whom they go. */
  readonly lost: ReadonlyMap<string, string>;
}

/**
 * For pods and gangs that found no place: machines that others have.
 *
 * Any tenant that may have one more gets idle ones that their tenants lend, before their idle timers end. A tenant below
 * its nominal quota gets busy ones back from who holds more than nominal; since nobody is taken below nominal, and only
 * up to nominal, what was taken is never taken back. Within a tenant, a gang takes nodes of lower priority, which stay what
 * they are; for single pods its own scheduler does that. Whose turn it is comes first; each turn takes as little as it can.
 */
export function reclaim(world: World, turns: readonly Turn[], quotas: Quotas, fleet: Fleet): Reclaimed {
  if (turns.every((turn) => turn.left.length === 0)) return { actions: [], lost: new Map() };
  return new Reclaim(world, turns, quotas, fleet).run();
}

class Reclaim {
  private readonly world: World;
  private readonly turns: readonly Turn[];
  private readonly quotas: Quotas;
  private actions: Action[] = [];
  private readonly lost = new Map<string, string>();
  private readonly inTheWay: readonly Candidate[];
  private readonly held: readonly HeldAlike[];
  /** Those that are idle. */
  private readonly idle: readonly Candidate[];
  /** Who may get anything at all. */
  private readonly takers: readonly Turn[];
  private readonly tried = new Set<Left>();
  private readonly broken: { readonly victim: Candidate; readonly pods: readonly RunningPod[] }[] = [];

  constructor(world: World, turns: readonly Turn[], quotas: Quotas, fleet: Fleet) {
    this.world = world;
    this.turns = turns;
    this.quotas = quotas;
    const { candidates, held } = candidatesOf(turns, { world, quotas, fleet });
    this.inTheWay = candidates;
    this.held = alike(held);
    this.idle = this.inTheWay.filter((one) => one.idle);
    // who owns nothing gets idle nodes only, and room on its own for a gang
    const have = new Set(this.inTheWay.map((one) => one.turn));
    this.takers = turns.filter(
      (turn) => this.inTheWay.length > 0 && (this.idle.length > 0 || have.has(turn) || quotas.owns(turn.cluster, [])),
    );
  }

  run(): Reclaimed {
    for (let next = this.next(); next; next = this.next()) {
      const { turn, left } = next;
      const helped = left.kind.gang === undefined ? this.forPods(turn, left) : this.forGang(turn, left);
      if (!helped) this.tried.add(left);
    }
    this.leaveUnused();
    const taken = { actions: this.actions, lost: this.lost };
    for (const { victim, pods } of this.broken) if (this.isGone(victim)) breakGangs(victim, pods, taken);
    for (const turn of this.turns) giveBackBroken(turn, taken);
    if (this.held.length > 0)
      for (const turn of this.turns) turn.left = turn.left.map((left) => withHeld(turn, left, this.held, this.quotas));
    return { actions: this.actions, lost: this.lost };
  }

  private isGone({ tenant, node }: Candidate): boolean {
    return this.actions.some((one) => one.from === tenant && one.node === node.name);
  }

  /** A machine that in the end nobody uses stays with who has it. */
  private leaveUnused(): void {
    const used = new Set(
      this.turns.flatMap((turn) =>
        turn.cluster.openings().flatMap(({ site, opening }) => (site.here.length > 0 ? [opening.machine.name] : [])),
      ),
    );
    const isKept = (one: Action) => one.verb === "evict" || one.machine === undefined || used.has(one.machine);
    for (const one of this.actions) if (!isKept(one)) this.lost.delete(`${one.from}/${one.node}`);
    this.actions = this.actions.filter(isKept);
  }

  /** What waits for a machine, of the tenant whose turn it is. */
  private next(): { readonly turn: Turn; readonly left: Left } | undefined {
    let best: { readonly turn: Turn; readonly left: Left } | undefined;
    for (const turn of this.takers) {
      const left = this.firstOf(turn);
      if (left && (!best || this.quotas.before(turn.cluster, best.turn.cluster) < 0)) best = { turn, left };
    }
    return best;
  }

  /** The higher priority, and gangs first: they may take what pods of lower priority got. */
  private firstOf(turn: Turn): Left | undefined {
    const gang = (left: Left) => Number(left.kind.gang !== undefined);
    let first: Left | undefined;
    for (const one of turn.left) {
      if (this.tried.has(one) || !one.kind.request || one.kind.priority < turn.goal.expendableBelow) continue;
      const by = first ? one.kind.priority - first.kind.priority || gang(one) - gang(first) : 1;
      if (by > 0) first = one;
    }
    return first;
  }

  /** One machine for pods of a kind. */
  private forPods(turn: Turn, left: Left): boolean {
    const victim = this.firstFor(turn, left.kind);
    if (!victim || !this.adopt(turn, left.kind, victim)) return false;
    const placed = this.placeLeft(turn, left);
    this.goes(turn, left.kind, victim);
    this.share(turn);
    return placed;
  }

  /** The first that its tenant may lose and the other may have. What costs least to ask is asked first. */
  private firstFor(turn: Turn, kind: PodKind): Candidate | undefined {
    for (const one of this.others(turn)) {
      const { busy, idle } = this.allowance(one.tenant);
      if (one.turn === turn || one.amount > (one.idle ? idle : busy)) continue;
      if (this.isAvailable(turn, kind, one) && this.mayTake(turn, kind, [one])) return one;
    }
    return undefined;
  }

  /** What a tenant may take from others as far as its quota goes: only owners get back what is busy. */
  private others(turn: Turn): readonly Candidate[] {
    return this.quotas.owns(turn.cluster, []) ? this.inTheWay : this.idle;
  }

  private forGang(turn: Turn, left: Left): boolean {
    const name = left.kind.gang ?? "";
    const lefts = turn.left.filter((one) => one.kind.gang === name);
    const kinds = lefts.map((one) => one.kind);
    for (const one of lefts) this.tried.add(one);
    const running = runningOf(turn, name).reduce((sum, one) => sum + one.members, 0);
    const gang = gangOf(turn, name, kinds);
    if (lefts.some((one) => one.from > 0) || running >= gang.min) return false;
    const lead = kinds[0];
    if (!lead) return false;
    const others = this.others(turn).filter((one) => one.turn !== turn && this.isAvailable(turn, lead, one));
    const own = this.inTheWay.filter(
      (one) =>
        this.outranks(turn, lead, one) && !(one.supply?.pods ?? []).some((pod) => pod.gang === name) && this.isAvailable(turn, lead, one),
    );
    const mark = turn.cluster.mark();
    // pods that rank lower came later: what they got is the gang's first
    const lifted = turn.cluster.lift((kind) => kind.priority < lead.priority);
    const idle = others.filter((one) => one.idle);
    // what was taken before may have left room
    const tries = this.actions.length > 0 ? [[], idle, others, own, [...others, ...own]] : [idle, others, own, [...others, ...own]];
    for (const [nth, candidates] of tries.entries()) {
      if (candidates.length === 0 && nth > 0) continue;
      const victims = candidates.length === 0 ? [] : this.victimsFor(turn, name, kinds, candidates, gang.topology?.required);
      const outcome = victims && this.placeWith(turn, name, kinds, victims);
      if (!outcome) continue;
      turn.left = turn.left.filter((one) => !lefts.includes(one));
      this.settle(turn, kinds, outcome);
      for (const one of victims) this.goes(turn, lead, one);
      this.replace(turn, lifted);
      this.share(turn, [...lifted].some((kind) => kind.gang !== undefined) ? turn.cluster.sites.all : undefined);
      return true;
    }
    turn.cluster.rollback(mark);
    return false;
  }

  /** What room is left on machines that were taken, or by a gang that lost its place, is for the tenant's other pods. */
  private share(turn: Turn, sites: readonly Site[] = turn.cluster.sites.all.filter((site) => site.opening?.taken)): void {
    const waiting = turn.left.filter(({ kind }) => kind.gang === undefined).sort((a, b) => b.kind.priority - a.kind.priority);
    for (const one of waiting) if (sites.some((site) => turn.cluster.room(one.kind, site, 1) > 0)) this.placeLeft(turn, one);
    for (const one of turn.left.filter(({ kind, from }) => kind.gang !== undefined && from > 0)) this.grow(turn, one);
  }

  /** Members of a gang that has its minimum take what room there is, where its topology lets one place be as good as another. */
  private grow(turn: Turn, left: Left): void {
    const name = left.kind.gang ?? "";
    const gang = turn.cluster.demand.world.gangs?.find((one) => one.name === name);
    if (!gang || gang.topology?.slice || turn.cluster.demand.kinds.some((one) => one !== left.kind && one.gang === name)) return;
    const running = runningOf(turn, name).reduce((sum, one) => sum + one.members, 0);
    const level = gang.topology?.required;
    const site = turn.cluster.sites.all.find((one) => one.here.some(({ kind }) => kind === left.kind));
    const within = level === undefined || !site ? {} : { within: (labels: Labels) => labels(level) === site.kind.labels(level) };
    const placed = turn.place(left.kind, { skip: left.from, most: Math.max(0, gang.size - running - left.from), ...within });
    this.replaceLeft(turn, left, placed);
  }

  /** Pods that made room for a gang go where there is room yet. */
  private replace(turn: Turn, lifted: ReadonlySet<PodKind>): void {
    turn.left = turn.left.filter((one) => !lifted.has(one.kind));
    const gangs = new Set<string>();
    for (const kind of turn.cluster.demand.kinds) {
      if (!lifted.has(kind) || gangs.has(kind.gang ?? "")) continue;
      if (kind.gang === undefined) {
        const from = turn.place(kind);
        if (from < kind.pods.length) turn.left.push({ kind, from });
        continue;
      }
      gangs.add(kind.gang);
      const members = [...lifted].filter((one) => one.gang === kind.gang);
      turn.left.push(...this.grown(turn, members, tryGang(turn, kind.gang, members)));
    }
  }

  /** The fewest that are enough, in the one domain where they must be. */
  private victimsFor(
    turn: Turn,
    name: string,
    kinds: readonly PodKind[],
    candidates: readonly Candidate[],
    level: string | undefined,
  ): readonly Candidate[] | undefined {
    const domains = new Map<string, Candidate[]>();
    for (const one of candidates) {
      const domain = level === undefined ? "" : (one.machine?.nodeLabels[level] ?? one.supply?.labels[level]);
      if (domain === undefined) continue;
      const list = domains.get(domain);
      if (list) list.push(one);
      else domains.set(domain, [one]);
    }
    let best: readonly Candidate[] | undefined;
    for (const [, list] of [...domains].sort(([a], [b]) => order(a, b))) {
      const enough = (victims: readonly Victim[]) => this.trial(turn, name, kinds, victims as readonly Candidate[]);
      const least = leastVictims(
        list,
        (tenant) => (tenant === tenantOf(turn) ? FREELY : this.allowance(tenant)),
        enough,
        this.within(turn),
      );
      const found = least && this.usedOf(turn, name, kinds, least as readonly Candidate[]);
      if (found && (!best || lighter(found, best))) best = found;
    }
    return best;
  }

  private trial(turn: Turn, name: string, kinds: readonly PodKind[], victims: readonly Candidate[]): boolean {
    const mark = turn.cluster.mark();
    const { opened } = turn.pass;
    const fits = this.placeWith(turn, name, kinds, victims) !== undefined;
    turn.back(mark, opened);
    return fits;
  }

  /** Those of the victims that a gang uses, if they are enough: nothing is taken that it does not use. */
  private usedOf(turn: Turn, name: string, kinds: readonly PodKind[], victims: readonly Candidate[]): readonly Candidate[] | undefined {
    const mark = turn.cluster.mark();
    const { opened } = turn.pass;
    let used = victims;
    for (let before = -1; before !== used.length; ) {
      before = used.length;
      if (!this.placeWith(turn, name, kinds, used)) return undefined;
      const uses = usesOf(turn, name);
      used = used.filter(uses);
      turn.back(mark, opened);
    }
    return used;
  }

  /** Places a gang whole with the machines of victims that it may have; otherwise who tries takes back what was changed. */
  private placeWith(
    turn: Turn,
    name: string,
    kinds: readonly PodKind[],
    victims: readonly Candidate[],
  ): Extract<GangOutcome, { readonly placed: unknown }> | undefined {
    const mark = turn.cluster.mark();
    const { opened } = turn.pass;
    const [lead] = kinds;
    const all = lead !== undefined && victims.every((one) => this.adopt(turn, lead, one));
    const outcome = all ? tryGang(turn, name, kinds) : undefined;
    const owed = victims.some((one) => one.turn !== turn && !one.idle);
    if (outcome && "placed" in outcome && (!owed || this.staysWithin(turn, name, victims))) return outcome;
    turn.back(mark, opened);
    return undefined;
  }

  /** Whether a tenant owns all it has with those of the victims that a gang uses: the others it does not get. */
  private staysWithin(turn: Turn, name: string, victims: readonly Candidate[]): boolean {
    const uses = usesOf(turn, name);
    const unused = victims.filter((one) => one.turn !== turn && !uses(one));
    const sum = unused.reduce<Measure>((all, { machine }) => (machine ? this.quotas.with(all, machine) : all), []);
    return this.quotas.permits(
      turn.cluster,
      sum.map((amount) => -amount),
      true,
    );
  }

  /** A victim's place becomes the tenant's, where that may have it. */
  private adopt(turn: Turn, lead: PodKind, one: Candidate): boolean {
    if (one.turn === turn) {
      turn.cluster.evict(one.site, lower(one, lead.priority));
      return true;
    }
    const choice = choiceOf(turn, lead, one);
    if (!choice || !one.machine || !this.mayTake(turn, lead, [one])) return false;
    const former = { cluster: one.turn.cluster, node: one.supply !== undefined };
    turn.adopt(choice, one.supply ? this.onItsWay(one.machine) : one.machine, lead, former);
    return true;
  }

  /** What a gang has is settled, and it grows where there is room. */
  private settle(turn: Turn, kinds: readonly PodKind[], outcome: GangOutcome): void {
    const rest = this.grown(turn, kinds, outcome);
    for (const one of rest) this.tried.add(one);
    turn.left.push(...rest);
  }

  /** Everybody had a turn: members beyond the minimum take what room there is. @returns those that have no place */
  private grown(turn: Turn, kinds: readonly PodKind[], outcome: GangOutcome): Left[] {
    if (!("placed" in outcome)) return leftOf(kinds, outcome);
    const placed = kinds.map((kind, n) => {
      let from = outcome.placed[n] ?? 0;
      for (const { most, within } of outcome.more.filter((one) => one.kind === kind))
        from += turn.place(kind, { skip: from, most, ...(within ? { within } : {}) });
      return from;
    });
    return leftOf(kinds, { placed, more: [] });
  }

  /** Together no more than the tenant may have: all it owns, once somebody else must give something up that is not idle. */
  private within(turn: Turn): (victim: Victim) => boolean {
    let sum: Measure = [];
    let owned = false;
    return (victim) => {
      const one = victim as Candidate;
      if (one.turn === turn || !one.machine) return true;
      if (this.quotas.reserved(one.turn.cluster, one.machine)) return false;
      const more = this.quotas.with(sum, one.machine);
      const owns = owned || !one.idle;
      if (!this.quotas.permits(turn.cluster, more, owns)) return false;
      sum = more;
      owned = owns;
      return true;
    };
  }

  /** The node goes, its machine is wiped and given to who takes it; what was only planned is planned anew. */
  private goes(turn: Turn, kind: PodKind, victim: Candidate): void {
    const { supply, machine, tenant } = victim;
    if (victim.turn === turn) {
      const pods = lower(victim, kind.priority);
      this.actions.push(eviction(victim, pods, kind));
      this.broken.push({ victim, pods });
      return;
    }
    const to = tenantOf(turn);
    if (supply && machine) {
      const common = { node: supply.name, machine: machine.name, from: tenant, to };
      const reason = victim.idle ? `idle, and wanted by ${to}` : `borrowed from ${to}, which wants its quota back`;
      this.actions.push(
        { verb: "drain", ...common, pods: (supply.pods ?? []).map((pod) => pod.key), reason },
        { verb: "wipe", ...common, pods: [], reason },
        { verb: "give", ...common, pods: [], reason },
      );
      this.lost.set(`${tenant}/${supply.name}`, to);
      this.broken.push({ victim, pods: supply.pods ?? [] });
    }
    const here = new Set(victim.site.here.map((one) => one.kind));
    const lifted = victim.turn.cluster.lift(
      (one) => here.has(one) || [...here].some((each) => each.gang !== undefined && each.gang === one.gang),
    );
    victim.turn.cluster.shut(victim.site);
    this.replace(victim.turn, lifted);
    if ([...lifted].some((one) => one.gang !== undefined)) this.share(victim.turn, victim.turn.cluster.sites.all);
  }

  /** Whether a kind could use a candidate that nobody has taken yet. */
  private isAvailable(turn: Turn, kind: PodKind, one: Candidate): boolean {
    if (one.site.here.length > one.coming && (one.turn === turn || one.idle)) return false;
    // what was only planned is in the books of the windows already
    if (!one.supply && (one.site.here.length === 0 || !one.machine || this.quotas.inOthersWindow(turn.cluster, one.machine))) return false;
    if (one.turn === turn ? !one.site.kind.suits(kind.needs) : !this.quotas.shares.sameCohort(one.tenant, tenantOf(turn))) return false;
    if (this.lost.size > 0 && this.lost.has(`${one.tenant}/${one.node.name}`)) return false;
    return one.turn === turn || choiceOf(turn, kind, one) !== undefined;
  }

  private outranks(turn: Turn, kind: PodKind, one: Candidate): boolean {
    return one.turn === turn && !one.idle && lower(one, kind.priority).length > 0 && one.priority < kind.priority;
  }

  /** Busy machines only for what the tenant owns, idle ones for whatever it may have. */
  private mayTake(turn: Turn, kind: PodKind, victims: readonly Candidate[]): boolean {
    const machines = victims.flatMap((one) => one.machine ?? []);
    if (victims.some((one) => one.machine && this.quotas.reserved(one.turn.cluster, one.machine))) return false;
    if (victims.some((one) => !one.idle)) return this.quotas.owns(turn.cluster, machines);
    return this.quotas.problem(turn.cluster, machines, kind) === undefined;
  }

  private allowance(tenant: string): Allowance {
    return { busy: this.quotas.shares.excess(tenant), idle: this.quotas.shares.lendable(tenant) };
  }

  private onItsWay(machine: MachineSupply): MachineSupply {
    const { unavailable: _, ...free } = machine;
    return { ...free, readyInS: this.world.policy?.turnaroundS ?? 0 };
  }

  private placeLeft(turn: Turn, left: Left): boolean {
    const placed = turn.place(left.kind, { skip: left.from });
    this.replaceLeft(turn, left, placed);
    return placed > 0;
  }

  private replaceLeft(turn: Turn, left: Left, placed: number): void {
    const from = left.from + placed;
    turn.left = turn.left.flatMap((one) => (one !== left ? [one] : from < left.kind.pods.length ? [{ ...left, from }] : []));
  }
}

/** Whether a gang has members on a victim's machine. */
function usesOf(turn: Turn, gang: string): (one: Candidate) => boolean {
  const sites = turn.cluster.sites.all.filter((site) => site.here.some(({ kind }) => kind.gang === gang));
  const names = new Set(sites.map((site) => site.name));
  return (one) => names.has(one.turn === turn ? one.site.name : (one.machine?.name ?? ""));
}

const FREELY: Allowance = { busy: Number.POSITIVE_INFINITY, idle: Number.POSITIVE_INFINITY };

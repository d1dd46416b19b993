import type { Resources } from "../../core/quantity.ts";
import { ownedByWindow } from "./time-windows.ts";
import type { Quota, World } from "./world.ts";

/** A machine in numbers, one a unit of {@link Shares.units}. */
export type Measure = readonly number[];

export interface QuotaProblem {
  readonly limit: "borrowing limit" | "lending limit" | "project quota";
  readonly reason: string;
  /** The smallest change that would help. */
  readonly hint: string;
}

const MACHINES = "machines";

/**
 * What tenants hold, may hold, and whose turn it is.
 *
 * - A tenant within its nominal quota takes what is free. Beyond it, it borrows: up to its borrowing limit, and never what
 *   another tenant owns and does not lend. What nobody owns is everybody's.
 * - Turns: owners below their nominal quota first; then the lowest weighted dominant share of what is held beyond nominal;
 *   then the larger weight; then who waits longest; then by name. Each opened machine raises a share, so nobody waits for ever.
 * - A node on its way out counts for limits, its tenant has it until it is wiped; it is no borrowed node to take back.
 */
export class Shares {
  /** `machines` and every resource the inventory has. */
  readonly units: readonly string[];
  private readonly accounts = new Map<string, Account>();
  private readonly measures = new Map<Resources, Measure>();
  /** Of all machines there are. */
  private readonly total: Measure;
  /** Of what nobody holds, or soon will not. */
  private readonly free: number[];
  /** What is owned and not used, by cohort: all of it, and what of it is not lent. */
  private readonly idle = new Map<string, { readonly owned: number[]; readonly unlent: number[] }>();
  private readonly idleOfAll: number[];

  constructor(world: World) {
    this.units = unitsOf(world);
    const inventory = new Set(world.machines.map((machine) => machine.name));
    const others = world.tenants.flatMap((tenant) => tenant.nodes.filter((node) => !inventory.has(node.machine ?? node.name)));
    this.total = this.sum([...world.machines, ...others].map((one) => one.capacity));
    const free = world.machines.filter((machine) => machine.unavailable === undefined);
    const endless = (world.catalog?.length ?? 0) > 0;
    this.free = endless ? this.units.map(() => Number.POSITIVE_INFINITY) : this.sum(free.map((machine) => machine.capacity));
    this.idleOfAll = this.units.map(() => 0);
    for (const { tenant, quota: own = {}, nodes, pods } of world.tenants) {
      const at = Math.max(0, this.units.indexOf(own.unit ?? MACHINES));
      const reserved = ownedByWindow(world, tenant, (machine) => this.measure(machine.capacity)[at] ?? 0);
      const quota = reserved > 0 ? { ...own, nominal: (own.nominal ?? 0) + reserved } : own;
      const account: Account = {
        tenant,
        quota,
        at,
        weight: quota.weight ?? 1,
        since: pods.reduce((first, pod) => (first === "" || pod.since < first ? pod.since : first), ""),
        held: this.sum(nodes.map((node) => node.capacity)),
        staying: this.sum(nodes.filter((node) => !node.leaving).map((node) => node.capacity)),
        share: 0,
      };
      account.share = this.dominantShare(account);
      this.accounts.set(tenant, account);
      this.countIdle(account, 1);
    }
  }

  measure(capacity: Resources): Measure {
    const known = this.measures.get(capacity);
    if (known) return known;
    const fresh = this.units.map((unit) => (unit === MACHINES ? 1 : Number(capacity.get(unit) ?? 0n) / 1e9));
    this.measures.set(capacity, fresh);
    return fresh;
  }

  /** Whether no quota says anything of a tenant now: neither its own nor what others own and do not use. */
  isUnbound(tenant: string): boolean {
    const { nominal, borrow } = this.account(tenant).quota;
    return nominal === undefined && borrow === undefined && !this.idleOfAll.some(isSome);
  }

  /** Why a tenant may not have `more` besides what it has, or undefined. */
  problem(tenant: string, more: Measure): QuotaProblem | undefined {
    const account = this.account(tenant);
    const { quota, at } = account;
    const before = account.held[at] ?? 0;
    const after = before + (more[at] ?? 0);
    const nominal = quota.nominal ?? 0;
    if (quota.nominal !== undefined && after <= nominal) return undefined;
    if (quota.borrow !== undefined && after > nominal + quota.borrow) {
      return {
        limit: "borrowing limit",
        reason: `quota: borrowing limit: ${before} of ${nominal} + ${quota.borrow} ${this.unit(at)} used, ${after - before} more wanted`,
        hint: `a borrowing limit or a nominal quota of ${tenant} that is ${after - nominal - quota.borrow} higher`,
      };
    }
    return this.lendingProblem(account, more);
  }

  opened(tenant: string, more: Measure): void {
    this.change(this.account(tenant), more, 1);
  }

  /** Undoes {@link Shares.opened}. */
  closed(tenant: string, more: Measure): void {
    this.change(this.account(tenant), more, -1);
  }

  /** A tenant must give up a machine, which nobody has until somebody opens it. Its node counts for limits until it is gone. */
  lost(tenant: string, less: Measure): void {
    this.leave(this.account(tenant), less, 1);
  }

  /** Undoes {@link Shares.lost}. */
  kept(tenant: string, less: Measure): void {
    this.leave(this.account(tenant), less, -1);
  }

  /** Whether all of `more` would be within what the tenant owns: then it takes it back from who borrowed it. */
  owns(tenant: string, more: Measure): boolean {
    const { quota, at, held } = this.account(tenant);
    return quota.nominal !== undefined && (held[at] ?? 0) + (more[at] ?? 0) <= quota.nominal;
  }

  /** How much a tenant holds beyond what it owns, in its own unit; nodes on their way out are given back already. */
  excess(tenant: string): number {
    const { quota, at, staying } = this.account(tenant);
    return (staying[at] ?? 0) - (quota.nominal ?? 0);
  }

  /** How much of what it holds a tenant lends when it has no use for it, in its own unit. */
  lendable(tenant: string): number {
    const { quota, at, staying } = this.account(tenant);
    return (staying[at] ?? 0) - unlentOf(quota);
  }

  /** An amount in the unit of a tenant's quota. */
  inUnitOf(tenant: string, amount: Measure): number {
    return amount[this.account(tenant).at] ?? 0;
  }

  sameCohort(a: string, b: string): boolean {
    return (this.account(a).quota.cohort ?? "") === (this.account(b).quota.cohort ?? "");
  }

  /** Whether a tenant holds less than it owns. */
  below(tenant: string): boolean {
    return isBelow(this.account(tenant)) === 1;
  }

  /** Whose turn comes first. @param borrows who wants to go beyond nominal now, though it is below it */
  compare(a: string, b: string, borrows: { readonly a?: boolean; readonly b?: boolean } = {}): number {
    const one = this.account(a);
    const other = this.account(b);
    return (
      (borrows.b ? 0 : isBelow(other)) - (borrows.a ? 0 : isBelow(one)) ||
      byNumber(one.share, other.share) ||
      other.weight - one.weight ||
      byText(one.since, other.since) ||
      byText(one.tenant, other.tenant)
    );
  }

  /** Of what a tenant holds beyond nominal: the largest part of any resource of the fleet, by its weight. */
  share(tenant: string): number {
    return this.account(tenant).share;
  }

  private account(tenant: string): Account {
    const account = this.accounts.get(tenant);
    if (!account) throw new RangeError(`no tenant ${tenant}`);
    return account;
  }

  private dominantShare({ held, quota, at, weight }: Account): number {
    const mine = held[at] ?? 0;
    const owned = quota.nominal ?? 0;
    if (owned > 0 && mine < owned) return 0;
    const beyond = owned > 0 ? (mine - owned) / mine : 1;
    // who weighs nothing gets what all others leave
    if (weight <= 0) return Number.POSITIVE_INFINITY;
    const parts = held.map((amount, unit) => (this.units[unit] === "pods" ? 0 : amount / Math.max(this.total[unit] ?? 0, 1)));
    return (Math.max(0, ...parts) * beyond) / weight;
  }

  /** What others own and do not lend stays free for them. */
  private lendingProblem(account: Account, more: Measure): QuotaProblem | undefined {
    if (!this.idleOfAll.some(isSome)) return undefined;
    const cohort = this.idle.get(account.quota.cohort ?? "");
    for (const [at, unit] of this.units.entries()) {
      const wanted = more[at] ?? 0;
      const own = at === account.at ? idleOf(account).unlent : 0;
      const kept = (this.idleOfAll[at] ?? 0) - (cohort?.owned[at] ?? 0) + (cohort?.unlent[at] ?? 0) - own;
      const missing = kept + wanted - (this.free[at] ?? 0);
      if (kept <= 0 || wanted <= 0 || missing <= 0) continue;
      return {
        limit: "lending limit",
        reason: `quota: lending limit: ${kept} ${this.unit(at)} that other tenants own and do not lend stay free`,
        hint: `${missing} more ${unit}, or other tenants that lend ${missing} more`,
      };
    }
    return undefined;
  }

  private change(account: Account, more: Measure, sign: 1 | -1): void {
    this.countIdle(account, -1);
    for (const [at, amount] of more.entries()) {
      account.held[at] = (account.held[at] ?? 0) + sign * amount;
      account.staying[at] = (account.staying[at] ?? 0) + sign * amount;
      this.free[at] = (this.free[at] ?? 0) - sign * amount;
    }
    account.share = this.dominantShare(account);
    this.countIdle(account, 1);
  }

  private leave(account: Account, less: Measure, sign: 1 | -1): void {
    this.countIdle(account, -1);
    for (const [at, amount] of less.entries()) {
      account.staying[at] = (account.staying[at] ?? 0) - sign * amount;
      this.free[at] = (this.free[at] ?? 0) + sign * amount;
    }
    this.countIdle(account, 1);
  }

  private countIdle(account: Account, sign: 1 | -1): void {
    const cohort = account.quota.cohort ?? "";
    const sums = this.idle.get(cohort) ?? { owned: this.units.map(() => 0), unlent: this.units.map(() => 0) };
    const { owned, unlent } = idleOf(account);
    sums.owned[account.at] = (sums.owned[account.at] ?? 0) + sign * owned;
    sums.unlent[account.at] = (sums.unlent[account.at] ?? 0) + sign * unlent;
    this.idleOfAll[account.at] = (this.idleOfAll[account.at] ?? 0) + sign * owned;
    this.idle.set(cohort, sums);
  }

  private unit(at: number): string {
    return this.units[at] ?? MACHINES;
  }

  /** Exact whatever the order: the sums are too large for a double to be trusted on the way. */
  private sum(all: readonly Resources[]): number[] {
    const sums = new Map<string, bigint>();
    for (const one of all) for (const [name, amount] of one) sums.set(name, (sums.get(name) ?? 0n) + amount);
    return this.units.map((unit) => (unit === MACHINES ? all.length : Number(sums.get(unit) ?? 0n) / 1e9));
  }
}

interface Account {
  readonly tenant: string;
  readonly quota: Quota;
  /** Of its quota's unit. */
  readonly at: number;
  readonly weight: number;
  /** When its oldest pod began to wait. */
  readonly since: string;
  readonly held: number[];
  readonly staying: number[];
  share: number;
}

function unitsOf({ tenants, machines, catalog = [] }: World): readonly string[] {
  const names = new Set<string>();
  for (const { quota, nodes } of tenants) {
    if (quota?.unit !== undefined) names.add(quota.unit);
    for (const node of nodes) for (const name of node.capacity.keys()) names.add(name);
  }
  for (const machine of [...machines, ...catalog]) for (const name of machine.capacity.keys()) names.add(name);
  names.delete(MACHINES);
  return [MACHINES, ...[...names].sort()];
}

function unlentOf({ nominal = 0, lend = nominal }: Quota): number {
  return Math.max(0, nominal - lend);
}

function idleOf({ quota, at, staying }: Account): { readonly owned: number; readonly unlent: number } {
  const used = staying[at] ?? 0;
  return { owned: Math.max(0, (quota.nominal ?? 0) - used), unlent: Math.max(0, unlentOf(quota) - used) };
}

function isSome(amount: number): boolean {
  return amount > 0;
}

function isBelow({ quota, at, held }: Account): number {
  return Number((held[at] ?? 0) < (quota.nominal ?? 0));
}

function byNumber(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

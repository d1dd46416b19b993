import type { Resources } from "../../core/quantity.ts";
import type { Cluster } from "./cluster.ts";
import type { Lot } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import { Projects } from "./projects.ts";
import type { Former, Referee } from "./referee.ts";
import { type Measure, type QuotaProblem, Shares } from "./shares.ts";
import { Windows } from "./time-windows.ts";
import type { MachineSupply, WarmFloor, World } from "./world.ts";

/** Who may open what, by quota, project, reservation and warm floor; and whose turn it is, by share. */
export class Quotas implements Referee {
  readonly shares: Shares;
  private readonly projects: Projects;
  private readonly windows: Windows;
  private readonly floors: readonly Floor[];
  private readonly undo: (() => void)[] = [];

  constructor(world: World) {
    this.shares = new Shares(world);
    this.projects = new Projects(world, this.shares);
    this.windows = new Windows(world);
    this.floors = (world.floors ?? []).map((floor) => {
      const ready = world.machines.filter((machine) => isReady(machine) && isOf(floor, machine));
      return { floor, ready: new Set(ready.map((machine) => machine.name)), left: ready.length };
    });
  }

  before(a: Cluster, b: Cluster): number {
    return this.shares.compare(nameOf(a), nameOf(b), { a: a.borrows, b: b.borrows });
  }

  isBelow(cluster: Cluster): boolean {
    return this.shares.below(nameOf(cluster));
  }

  isBeyond(cluster: Cluster): boolean {
    return !this.shares.owns(nameOf(cluster), []);
  }

  refuses(cluster: Cluster, lot: Lot, kind: PodKind): string | undefined {
    const machine = lot.free[lot.free.length - 1] ?? lot.like;
    return this.problem(cluster, [machine], kind);
  }

  most(cluster: Cluster, lot: Lot, count: number): number {
    const one = this.shares.measure(lot.like.capacity);
    let low = 0;
    for (let high = count; low < high; ) {
      const middle = Math.ceil((low + high) / 2);
      const more = one.map((amount) => amount * middle);
      if (this.limit(nameOf(cluster), more) === undefined) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  hint(cluster: Cluster, lot: Lot): string | undefined {
    return this.quota(cluster, [lot.like])?.hint;
  }

  /** Why a tenant may not have machines as well, for pods of a kind, or undefined. */
  problem(
    cluster: Cluster,
    machines: readonly MachineSupply[],
    { maxRuntimeS, priority }: Pick<PodKind, "maxRuntimeS" | "priority">,
  ): string | undefined {
    const tenant = nameOf(cluster);
    const quota = this.quota(cluster, machines);
    if (quota) return quota.reason;
    for (const machine of machines) {
      const kept = this.windows.problem(tenant, machine.name, endOf(machine, maxRuntimeS)) ?? this.kept(tenant, machine, priority);
      if (kept !== undefined) return kept;
    }
    return undefined;
  }

  quota(cluster: Cluster, machines: readonly MachineSupply[]): QuotaProblem | undefined {
    return this.limit(nameOf(cluster), this.sum(machines));
  }

  private limit(tenant: string, more: Measure): QuotaProblem | undefined {
    return this.projects.problem(tenant, more) ?? (this.shares.isUnbound(tenant) ? undefined : this.shares.problem(tenant, more));
  }

  /** Whether a tenant has a right to machines: they are within its nominal quota, and its project's. */
  owns(cluster: Cluster, machines: readonly MachineSupply[]): boolean {
    return this.permits(cluster, this.sum(machines), true);
  }

  /** Whether machines are within a tenant's nominal quota together, or within what it may borrow. */
  permits(cluster: Cluster, more: Measure, owned: boolean): boolean {
    const tenant = nameOf(cluster);
    if (this.projects.problem(tenant, more)) return false;
    return owned ? this.shares.owns(tenant, more) : this.shares.problem(tenant, more) === undefined;
  }

  /** Whether a window of some other tenant counts on a machine. */
  inOthersWindow(cluster: Cluster, machine: MachineSupply): boolean {
    return this.windows.counts(nameOf(cluster), machine.name);
  }

  /** Within how many seconds work must end that joins what a tenant runs on a machine, for others' windows; undefined: whenever. */
  until(tenant: string, machine: string): number | undefined {
    return this.windows.until(tenant, machine);
  }

  /** Whether a tenant needs a machine it has for a window of its own. */
  reserved(cluster: Cluster, machine: MachineSupply): boolean {
    return this.windows.reserves(nameOf(cluster), machine.name);
  }

  /** What a node is in the unit of its tenant's quota. */
  amount(cluster: Cluster, capacity: Resources): number {
    return this.shares.inUnitOf(nameOf(cluster), this.shares.measure(capacity));
  }

  opened(cluster: Cluster, machine: MachineSupply, maxRuntimeS?: number, former?: Former): number | undefined {
    const without = former ? this.leaves(former, machine) : undefined;
    const tenant = nameOf(cluster);
    const endsInS = endOf(machine, maxRuntimeS);
    const until = endsInS === undefined ? undefined : this.windows.until(tenant, machine.name, endsInS);
    const measure = this.shares.measure(machine.capacity);
    this.shares.opened(tenant, measure);
    this.projects.opened(tenant, measure);
    const back = this.windows.opened(tenant, machine.name, until);
    const floors = this.floors.filter((one) => one.ready.has(machine.name));
    for (const floor of floors) floor.left -= 1;
    this.undo.push(() => {
      this.shares.closed(tenant, measure);
      this.projects.closed(tenant, measure);
      without?.();
      back();
      for (const floor of floors) floor.left += 1;
    });
    return until === undefined ? undefined : until - (machine.readyInS ?? 0);
  }

  /** The last one that was opened is not opened after all. */
  closed(): void {
    this.undo.pop()?.();
  }

  /** Nothing is opened after all. */
  rewind(): void {
    while (this.undo.length > 0) this.closed();
  }

  /** Who has a machine must give it up: what was only planned is not held, a node is held until it is gone. */
  private leaves({ cluster, node }: Former, machine: MachineSupply): () => void {
    const tenant = nameOf(cluster);
    const measure = this.shares.measure(machine.capacity);
    if (node) {
      this.shares.lost(tenant, measure);
      return () => this.shares.kept(tenant, measure);
    }
    this.shares.closed(tenant, measure);
    this.projects.closed(tenant, measure);
    return () => {
      this.shares.opened(tenant, measure);
      this.projects.opened(tenant, measure);
    };
  }

  /** Machines in numbers, and one more. */
  with(sum: Measure, machine: MachineSupply): Measure {
    const one = this.shares.measure(machine.capacity);
    return sum.length === 0 ? one : sum.map((amount, at) => amount + (one[at] ?? 0));
  }

  private sum(machines: readonly MachineSupply[]): Measure {
    return machines.reduce<Measure>((sum, machine) => this.with(sum, machine), []);
  }

  /** The warm floor is for owners and for what is urgent: who borrows for ordinary work leaves it alone. */
  private kept(tenant: string, machine: MachineSupply, priority: number): string | undefined {
    const floor = this.floors.find((one) => one.left <= one.floor.count && one.ready.has(machine.name) && !isUrgent(priority, one.floor));
    if (!floor || this.shares.owns(tenant, this.shares.measure(machine.capacity))) return undefined;
    const { machineClass, count } = floor.floor;
    return `warm floor of class ${machineClass}: its last ${count} free machines are for owners of quota and urgent pods`;
  }
}

interface Floor {
  readonly floor: WarmFloor;
  /** Machines of the class that were free and ready when the plan began. */
  readonly ready: ReadonlySet<string>;
  /** How many of them still are. */
  left: number;
}

function isReady({ unavailable, readyInS }: MachineSupply): boolean {
  return unavailable === undefined && readyInS === undefined;
}

function isUrgent(priority: number, floor: WarmFloor): boolean {
  return floor.priority === undefined ? priority > 0 : priority >= floor.priority;
}

function isOf(floor: WarmFloor, machine: MachineSupply): boolean {
  return Object.entries(floor.selector).every(([key, value]) => machine.labels[key] === value);
}

function endOf(machine: MachineSupply, maxRuntimeS: number | undefined): number | undefined {
  return maxRuntimeS === undefined ? undefined : maxRuntimeS + (machine.readyInS ?? 0);
}

function nameOf(cluster: Cluster): string {
  return cluster.demand.world.tenant;
}

import type { MachineSupply, TenantWorld, Window, World } from "./world.ts";

/**
 * Machines kept for a tenant in a window of time.
 *
 * At the start of each window so many machines that suit it must be free, or be its tenant's own already. Whoever opens a
 * machine must not leave fewer for any window: but for its own tenant, and for work that ends, with the machine's turnaround,
 * before the window begins (backfill). Inside its own window a tenant uses a machine until that window ends.
 */
export class Windows {
  private readonly windows: readonly Window[];
  private readonly turnaroundS: number;
  private readonly instants: readonly Instant[];
  /** By window: machines that suit it and are its tenant's already. */
  private readonly held: readonly number[];
  /** The windows a machine suits, by the machine. */
  private readonly kinds = new Map<string, Kind>();

  constructor(world: World) {
    this.turnaroundS = world.policy?.turnaroundS ?? 0;
    this.windows = [...(world.windows ?? [])].filter((one) => one.endsInS > 0).sort((a, b) => byText(a.name, b.name));
    const known = new Map<string, Kind>();
    if (this.windows.length > 0) for (const machine of world.machines) this.sort(machine, known);
    const starts = [...new Set(this.windows.map((one) => Math.max(0, one.startsInS)))].sort((a, b) => a - b);
    const holders = new Map(world.tenants.flatMap((tenant) => nodesOf(tenant).map((node) => [node.machine, node])));
    this.instants = starts.map((at) => this.instant(at, world.machines, holders));
    this.held = this.windows.map((window, at) => {
      const mine = [...holders.values()].filter((one) => one.tenant === window.tenant);
      return mine.filter((one) => this.kinds.get(one.machine)?.suits.includes(at)).length;
    });
  }

  /** Why a tenant may not open a machine for work that ends after so many seconds (absent: nobody knows when), or undefined. */
  problem(tenant: string, machine: string, endsInS?: number): string | undefined {
    const kind = this.kinds.get(machine);
    if (!kind) return undefined;
    const over = this.over(tenant, kind, endsInS);
    for (const instant of this.instants) {
      if (over <= instant.at || !instant.counted.has(machine)) continue;
      const before = instant.shortage ?? shortage(instant);
      instant.shortage = before;
      const after = shortage(withHolder(instant, kind, this.windows, tenant));
      if (after > before) return `kept for ${this.names(instant, kind)}${this.hint(instant.at)}`;
    }
    return undefined;
  }

  /** @returns undoes it, when nothing later is left to be undone */
  opened(tenant: string, machine: string, endsInS?: number): () => void {
    const undo: (() => void)[] = [];
    const kind = this.kinds.get(machine);
    if (!kind) return () => {};
    const over = this.over(tenant, kind, endsInS);
    for (const instant of this.instants) {
      if (over <= instant.at || !instant.counted.delete(machine)) continue;
      const { wanted, free, shortage: known } = instant;
      undo.push(() => {
        Object.assign(instant, { wanted, free, shortage: known });
        instant.counted.add(machine);
      });
      const after = withHolder(instant, kind, this.windows, tenant);
      instant.free = after.free;
      instant.wanted = after.wanted;
      instant.shortage = undefined;
    }
    return () => {
      for (const back of undo) back();
    };
  }

  /**
   * Within how many seconds all must end that a tenant runs on a machine where something is known to end after `endsInS`: before
   * the next window of another that suits it, for the machine counts as free then. Undefined: whenever it likes.
   */
  until(tenant: string, machine: string, endsInS = 0): number | undefined {
    const kind = this.kinds.get(machine);
    if (!kind) return undefined;
    const [over, atMost] = [this.over(tenant, kind, endsInS), this.over(tenant, kind)];
    const next = this.instants.find(
      ({ at, counted }) => over <= at && at < atMost && counted.has(machine) && kind.suits.some((nth) => this.isOfAnother(nth, tenant, at)),
    );
    return next && next.at - this.turnaroundS;
  }

  private isOfAnother(nth: number, tenant: string, at: number): boolean {
    const window = this.windows[nth];
    return window !== undefined && window.tenant !== tenant && window.startsInS <= at && at < window.endsInS;
  }

  /** Whether a tenant that has a machine needs it for its own windows: nobody takes it back then. */
  reserves(tenant: string, machine: string): boolean {
    const kind = this.kinds.get(machine);
    if (!kind) return false;
    return kind.suits.some((at) => {
      const window = this.windows[at];
      return window?.tenant === tenant && (this.held[at] ?? 0) <= (window.count ?? Number.POSITIVE_INFINITY);
    });
  }

  /** Whether a machine suits a window of anybody but a tenant. */
  counts(tenant: string, machine: string): boolean {
    return this.kinds.get(machine)?.suits.some((at) => this.windows[at]?.tenant !== tenant) ?? false;
  }

  private sort(machine: MachineSupply, known: Map<string, Kind>): void {
    const suits = this.windows.flatMap((window, at) => (matches(window, machine) ? [at] : []));
    if (suits.length === 0) return;
    const key = suits.join();
    const kind = known.get(key) ?? { key, suits };
    known.set(key, kind);
    this.kinds.set(machine.name, kind);
  }

  private instant(at: number, machines: readonly MachineSupply[], holders: ReadonlyMap<string, Holder>): Instant {
    const wanted = this.windows.map((window) =>
      window.startsInS <= at && at < window.endsInS ? (window.count ?? Number.POSITIVE_INFINITY) : 0,
    );
    const instant: Instant = { at, wanted, free: new Map(), counted: new Set() };
    const matching = this.windows.map(() => 0);
    for (const machine of machines) {
      const kind = this.kinds.get(machine.name);
      if (!kind) continue;
      for (const one of kind.suits) matching[one] = (matching[one] ?? 0) + 1;
      const holder = holders.get(machine.name);
      const free = holder ? this.over(holder.tenant, kind, holder.endsInS) <= at : machine.unavailable === undefined;
      if (free && (machine.readyInS ?? 0) <= Math.max(at, 0.1)) {
        instant.free.set(kind, (instant.free.get(kind) ?? 0) + 1);
        instant.counted.add(machine.name);
      } else if (holder) {
        const mine = this.mine(kind, holder.tenant, instant.wanted);
        if (mine !== undefined) instant.wanted = lessOne(instant.wanted, mine);
      }
    }
    // without a count a window wants all that suit it
    instant.wanted = instant.wanted.map((count, n) => Math.min(count, matching[n] ?? 0));
    return instant;
  }

  private mine(kind: Kind, tenant: string, wanted: readonly number[]): number | undefined {
    return kind.suits.find((at) => this.windows[at]?.tenant === tenant && (wanted[at] ?? 0) > 0);
  }

  /** When a machine is free for the next: with its turnaround; in its own window a tenant need not end before the window does. */
  private over(tenant: string, kind: Kind, endsInS = Number.POSITIVE_INFINITY): number {
    const own = kind.suits.map((at) => this.windows[at]).filter((one) => one?.tenant === tenant && one.startsInS <= 0);
    return own.reduce((end, one) => Math.min(end, one?.endsInS ?? end), endsInS + this.turnaroundS);
  }

  private names(instant: Instant, kind: Kind): string {
    const list = kind.suits.filter((at) => (instant.wanted[at] ?? 0) > 0).map((at) => this.windows[at]);
    return list.map((one) => `${one?.tenant} (reservation ${one?.name.includes("window") ? "" : "window "}${one?.name})`).join(" and ");
  }

  private hint(at: number): string {
    return at <= 0 ? "" : `, which begins in ${at} s: only work that ends ${this.turnaroundS} s before may use it`;
  }
}

/**
 * What more a tenant owns because of its windows, from as long before their start as a machine takes to change hands.
 * @param amount of a machine, in the unit of its quota
 */
export function ownedByWindow(world: World, tenant: string, amount: (machine: MachineSupply) => number): number {
  const { windows = [], policy = {}, machines } = world;
  return windows
    .filter((one) => one.tenant === tenant && one.endsInS > 0 && one.startsInS <= (policy.turnaroundS ?? 0))
    .reduce((sum, one) => {
      const suitable = machines.filter((machine) => matches(one, machine)).map(amount);
      const largest = suitable.sort((a, b) => b - a).slice(0, one.count ?? suitable.length);
      return largest.reduce((all, each) => all + each, sum);
    }, 0);
}

/** Machines that suit the same windows. */
interface Kind {
  readonly key: string;
  readonly suits: readonly number[];
}

/** The moment a window begins. */
interface Instant {
  readonly at: number;
  /** By window: machines it still needs. */
  wanted: readonly number[];
  /** Machines that will be free. */
  free: Map<Kind, number>;
  /** Them by name. */
  readonly counted: Set<string>;
  shortage?: number | undefined;
}

interface Holder {
  readonly machine: string;
  readonly tenant: string;
  readonly endsInS?: number;
}

function nodesOf({ tenant, nodes }: TenantWorld): Holder[] {
  return nodes.map((node) => {
    const ends = (node.pods ?? []).map((pod) => pod.endsInS);
    const known = ends.length > 0 && ends.every((end) => end !== undefined);
    return { machine: node.machine ?? node.name, tenant, ...(known ? { endsInS: Math.max(...ends) } : {}) };
  });
}

function matches(window: Window, machine: MachineSupply): boolean {
  return Object.entries(window.selector).every(([key, value]) => machine.nodeLabels[key] === value);
}

function withHolder(instant: Instant, kind: Kind, windows: readonly Window[], tenant: string): Instant {
  const free = new Map(instant.free);
  free.set(kind, (free.get(kind) ?? 0) - 1);
  const mine = kind.suits.find((at) => windows[at]?.tenant === tenant && (instant.wanted[at] ?? 0) > 0);
  return { ...instant, free, wanted: mine === undefined ? instant.wanted : lessOne(instant.wanted, mine) };
}

function lessOne(counts: readonly number[], at: number): readonly number[] {
  return counts.map((count, n) => (n === at ? count - 1 : count));
}

/** How many machines windows lack when the free ones are given to them as well as can be: a maximum flow, kinds to windows. */
function shortage({ wanted, free }: Instant): number {
  const flow = new Map<Kind, number[]>();
  const left = [...wanted];
  let lacking = 0;
  for (const [kind, count] of free) flow.set(kind, [...wanted.map(() => 0), Math.max(0, count)]);
  const spare = wanted.length;
  for (const [at, want] of left.entries()) {
    for (let more = want; more > 0; ) {
      const moved = give(flow, at, more, spare);
      if (moved === 0) {
        lacking += more;
        break;
      }
      more -= moved;
    }
  }
  return lacking;
}

/** Gives a window machines nobody has, or that another window passes on for others of its own; returns how many. */
function give(flow: Map<Kind, number[]>, to: number, most: number, spare: number): number {
  const from = new Map<number, { readonly kind: Kind; readonly back: number }>();
  const queue = [to];
  const seen = new Set(queue);
  for (let window = queue.shift(); window !== undefined; window = queue.shift()) {
    for (const [kind, has] of flow) {
      if (!kind.suits.includes(window)) continue;
      if ((has[spare] ?? 0) > 0) return pass(flow, { kind, window, to, most, spare, from });
      for (const [other, count] of has.entries()) {
        if (other === spare || count === 0 || seen.has(other)) continue;
        seen.add(other);
        from.set(other, { kind, back: window });
        queue.push(other);
      }
    }
  }
  return 0;
}

interface Path {
  readonly kind: Kind;
  readonly window: number;
  readonly to: number;
  readonly most: number;
  readonly spare: number;
  readonly from: ReadonlyMap<number, { readonly kind: Kind; readonly back: number }>;
}

function pass(flow: Map<Kind, number[]>, { kind, window, to, most, spare, from }: Path): number {
  const steps: { readonly kind: Kind; readonly off: number; readonly on: number }[] = [{ kind, off: spare, on: window }];
  for (let at = window; at !== to; ) {
    const step = from.get(at);
    if (!step) break;
    steps.push({ kind: step.kind, off: at, on: step.back });
    at = step.back;
  }
  const amount = Math.min(most, ...steps.map((step) => flow.get(step.kind)?.[step.off] ?? 0));
  for (const step of steps) {
    const has = flow.get(step.kind);
    if (!has) continue;
    has[step.off] = (has[step.off] ?? 0) - amount;
    has[step.on] = (has[step.on] ?? 0) + amount;
  }
  return amount;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

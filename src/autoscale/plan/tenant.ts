import { shortOf } from "../../core/quantity.ts";
import { conflict } from "../../core/requirements.ts";
import { kindOrder, kindsOf, order, type PodKind } from "./kinds.ts";
import { type Offer, offerOf, selects } from "./offer.ts";
import { blockingTaint, taintText } from "./taints.ts";
import type { MachineSupply, PoolWorld, TenantWorld } from "./world.ts";

/** What one tenant wants and may have, worked out once and read by every pass. */
export class TenantDemand {
  readonly world: TenantWorld;
  /** The heaviest first. */
  readonly pools: readonly PoolWorld[];
  /** In the order they are planned. */
  readonly kinds: readonly PodKind[];
  /** Kinds that are not planned at all, with their reason. */
  readonly unplannable: readonly PodKind[];
  /** When its oldest pod began to wait. */
  readonly since: string;
  private readonly machines: readonly MachineSupply[];
  private readonly offers = new Map<PoolWorld, Map<MachineSupply, Offer | string>>();
  private readonly suitables = new Map<PodKind, Map<PoolWorld, readonly Offer[]>>();

  constructor(world: TenantWorld, machines: readonly MachineSupply[]) {
    this.world = world;
    this.machines = machines;
    this.pools = [...world.pools].sort((a, b) => b.weight - a.weight || order(a.name, b.name));
    const kinds = kindsOf(world);
    const plannable = kinds.filter((kind) => kind.refused === undefined);
    const choices = new Map(plannable.map((kind) => [kind, this.choices(kind)]));
    this.kinds = plannable.sort(kindOrder(choices));
    this.unplannable = kinds.filter((kind) => kind.refused !== undefined).sort(kindOrder(choices));
    this.since = world.pods.map((pod) => pod.since).sort()[0] ?? "";
  }

  /** What a machine would be in a pool, or why it cannot. */
  offer(pool: PoolWorld, machine: MachineSupply): Offer | string {
    let offers = this.offers.get(pool);
    if (!offers) {
      offers = new Map();
      this.offers.set(pool, offers);
    }
    const known = offers.get(machine);
    if (known !== undefined) return known;
    const fresh = offerOf(pool, machine, this.world.daemons);
    offers.set(machine, fresh);
    return fresh;
  }

  /** The offer of a machine on which a kind could run if it were free, or why it never could. */
  suits(kind: PodKind, pool: PoolWorld, machine: MachineSupply): Offer | string {
    const offer = this.offer(pool, machine);
    if (typeof offer === "string") return offer;
    if (kind.accelerators === 0n && offer.accelerators > 0n && !pool.plainPodsOnAccelerators)
      return "kept for pods that ask for its accelerators";
    const taint = blockingTaint(pool.taints, kind.needs.tolerations);
    if (taint) return `taint ${taintText(taint)} is not tolerated`;
    const keys = kind.terms.map((term) => conflict(offer.offered, term));
    if (!keys.includes(undefined)) return `does not match on ${[...new Set(keys)].sort().join(" or ")}`;
    const short = shortOf(offer.free, kind.needs.requests);
    const lacking = short.filter((name) => (machine.allocatable.get(name) ?? 0n) <= 0n);
    if (lacking.length > 0) return `lacks ${lacking.join(", ")}`;
    return short.length > 0 ? `too small (${short.join(", ")})` : offer;
  }

  /** The offers of all machines, free or not, on which a kind could run. */
  suitable(kind: PodKind, pool: PoolWorld): readonly Offer[] {
    let pools = this.suitables.get(kind);
    if (!pools) {
      pools = new Map();
      this.suitables.set(kind, pools);
    }
    const known = pools.get(pool);
    if (known) return known;
    const fresh = this.machines
      .filter((machine) => selects(pool.machineClass, machine))
      .map((machine) => this.suits(kind, pool, machine))
      .filter((offer) => typeof offer !== "string");
    pools.set(pool, fresh);
    return fresh;
  }

  /** How many machines a kind could go to, free or not: what is taken at the moment must not change the order. */
  private choices(kind: PodKind): number {
    return new Set(this.pools.flatMap((pool) => this.suitable(kind, pool).map((offer) => offer.machine))).size;
  }
}

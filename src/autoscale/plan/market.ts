import { Columns, type Request } from "./amounts.ts";
import { Fleet } from "./fleet.ts";
import { mentionedIn } from "./mentioned.ts";
import type { Needs } from "./needs.ts";
import { type Market, Outlet } from "./outlet.ts";
import type { PoolWorld, World } from "./world.ts";

/** The inventory as all tenants share it, with one view of it for all pools that say the same. */
export class SharedMarket implements Market {
  readonly fleet: Fleet;
  readonly columns: Columns;
  readonly mentioned: ReadonlySet<string>;
  private readonly requests = new Map<number, { readonly request: Request | undefined }>();
  private readonly shares = new Map<number, number>();
  private readonly largest: Float64Array;
  private readonly outlets = new Map<string, Outlet>();
  private readonly texts = new Map<PoolWorld, string>();

  constructor(world: World) {
    const mentioned = mentionedIn(world);
    this.mentioned = mentioned.labels;
    this.fleet = new Fleet(world.machines, world.catalog ?? [], mentioned, nodeNames(world));
    this.columns = new Columns(["cpu", "memory", "pods", ...resourcesOf(this.fleet)]);
    this.largest = new Float64Array(this.columns.count);
    for (const lot of this.fleet.lots) {
      const has = this.columns.held(lot.like.allocatable);
      for (const [column, amount] of has.entries()) if (amount > (this.largest[column] as number)) this.largest[column] = amount;
    }
  }

  request(needs: Needs): Request | undefined {
    let known = this.requests.get(needs.place);
    if (!known) {
      known = { request: this.columns.request(needs.source.requests) };
      this.requests.set(needs.place, known);
    }
    return known.request;
  }

  share(needs: Needs): number {
    let share = this.shares.get(needs.place);
    if (share === undefined) {
      share = 0;
      const request = this.request(needs);
      for (const [n, column] of (request?.at ?? []).entries())
        share = Math.max(share, (request?.amounts[n] as number) / Math.max(1, this.largest[column] as number));
      this.shares.set(needs.place, share);
    }
    return share;
  }

  outlet(pool: PoolWorld, daemons: readonly Needs[]): Outlet {
    const text = `${this.textOf(pool)} ${daemons.map((one) => one.id).join()}`;
    let outlet = this.outlets.get(text);
    if (!outlet) {
      outlet = new Outlet(this.outlets.size, pool, daemons, this);
      this.outlets.set(text, outlet);
    }
    return outlet;
  }

  /** What of a pool decides which machines do: its name only where somebody asks for it. */
  private textOf(pool: PoolWorld): string {
    let text = this.texts.get(pool);
    if (text === undefined) {
      const { machineClass, requirements, labels, taints, plainPodsOnAccelerators } = pool;
      const name = this.mentioned.has("karpenter.sh/nodepool") ? pool.name : "";
      text = JSON.stringify([name, machineClass, requirements, Object.entries(labels).sort(), taints, plainPodsOnAccelerators]);
      this.texts.set(pool, text);
    }
    return text;
  }
}

function nodeNames(world: World): Set<string> {
  const names = new Set<string>();
  if (world.catalog && world.catalog.length > 0) for (const tenant of world.tenants) for (const node of tenant.nodes) names.add(node.name);
  return names;
}

function resourcesOf(fleet: Fleet): string[] {
  const names = new Set<string>();
  for (const lot of fleet.lots) for (const name of lot.like.allocatable.keys()) names.add(name);
  return [...names].sort();
}

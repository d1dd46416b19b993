import type { Measure, QuotaProblem, Shares } from "./shares.ts";
import type { World } from "./world.ts";

/**
 * What tenants of one project may have together. A node counts until it is gone: one that a tenant must give up to another of
 * the same project is in the way of that until then, so that the project never holds more than it may.
 */
export class Projects {
  /** By tenant. */
  private readonly projects = new Map<string, Account>();
  private readonly units: readonly string[];

  constructor(world: World, shares: Shares) {
    this.units = shares.units;
    const accounts = new Map<string, Account>();
    for (const { name, limits, elsewhere = [] } of world.projects ?? []) {
      const held = shares.units.map(() => 0);
      for (const capacity of elsewhere) addTo(held, shares.measure(capacity), 1);
      accounts.set(name, { name, limits: shares.units.map((unit) => limits.get(unit)), held });
    }
    for (const { tenant, project, nodes } of world.tenants) {
      const account = project === undefined ? undefined : accounts.get(project);
      if (!account) continue;
      this.projects.set(tenant, account);
      for (const node of nodes) addTo(account.held, shares.measure(node.capacity), 1);
    }
  }

  /** Why a tenant may not have `more` besides what its project has, or undefined. */
  problem(tenant: string, more: Measure): QuotaProblem | undefined {
    const account = this.projects.get(tenant);
    if (!account) return undefined;
    for (const [at, limit] of account.limits.entries()) {
      const [wanted, held] = [more[at] ?? 0, account.held[at] ?? 0];
      if (limit === undefined || wanted <= 0 || held + wanted <= limit) continue;
      const unit = this.units[at] ?? "";
      return {
        limit: "project quota",
        reason: `quota of project ${account.name}: ${held} of ${limit} ${unit} used by its tenants, ${wanted} more wanted`,
        hint: `a quota of project ${account.name} that is ${held + wanted - limit} ${unit} higher`,
      };
    }
    return undefined;
  }

  opened(tenant: string, more: Measure): void {
    this.change(tenant, more, 1);
  }

  /** Undoes {@link Projects.opened}. */
  closed(tenant: string, more: Measure): void {
    this.change(tenant, more, -1);
  }

  private change(tenant: string, more: Measure, sign: 1 | -1): void {
    const account = this.projects.get(tenant);
    if (account) addTo(account.held, more, sign);
  }
}

interface Account {
  readonly name: string;
  /** One a unit of the shares'. */
  readonly limits: readonly (number | undefined)[];
  readonly held: number[];
}

function addTo(sum: number[], more: Measure, sign: 1 | -1): void {
  for (const [at, amount] of more.entries()) sum[at] = (sum[at] ?? 0) + sign * amount;
}

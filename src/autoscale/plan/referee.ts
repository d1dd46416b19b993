import type { Cluster } from "./cluster.ts";
import type { Lot } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import { order } from "./order.ts";

/** What decides between tenants. */
export interface Referee {
  /** Who opens the next machine: negative when it is `a`. Asked again after each machine that was opened. */
  before(a: Cluster, b: Cluster): number;
  /** Why a tenant may not take a machine of a lot for pods of a kind now; undefined when it may. */
  refuses(cluster: Cluster, lot: Lot, kind: PodKind): string | undefined;
}

/** Without quotas: who holds the fewest machines goes first, then who waits longest, then by name. */
export const NO_QUOTAS: Referee = {
  before: (a, b) => a.held - b.held || order(a.demand.since, b.demand.since) || order(a.demand.world.tenant, b.demand.world.tenant),
  refuses: () => undefined,
};

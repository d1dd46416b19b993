import type { Cluster } from "./cluster.ts";
import type { Lot } from "./fleet.ts";
import type { PodKind } from "./kinds.ts";
import type { MachineSupply } from "./world.ts";

/** Who must give up a machine. */
export interface Former {
  readonly cluster: Cluster;
  /** It is a node; otherwise it was only planned to be one. */
  readonly node: boolean;
}

/** What decides between tenants. */
export interface Referee {
  /** Who opens the next machine: negative when it is `a`. Asked again after each machine that was opened. */
  before(a: Cluster, b: Cluster): number;
  /** Whether a tenant has less than it owns, or more. */
  isBelow(cluster: Cluster): boolean;
  isBeyond(cluster: Cluster): boolean;
  /** Why a tenant may not take a machine of a lot for pods of a kind now; undefined when it may. */
  refuses(cluster: Cluster, lot: Lot, kind: PodKind): string | undefined;
  /** How many machines of a lot a tenant may have by its quota, up to so many. */
  most(cluster: Cluster, lot: Lot, count: number): number;
  /** The smallest change after which it would not refuse, where there is one. */
  hint(cluster: Cluster, lot: Lot): string | undefined;
  /**
   * A tenant gets a machine.
   * @param maxRuntimeS after which what it is for has ended
   * @param former who had it until now and must give it up
   * @returns where a window counts on the machine after that, how long at most what runs there may
   */
  opened(cluster: Cluster, machine: MachineSupply, maxRuntimeS?: number, former?: Former): number | undefined;
  /** The last one that was opened is not opened after all. */
  closed(): void;
}

import type { Resources } from "../../core/quantity.ts";
import type { Requirement, Taint } from "../../core/resources.ts";

/** What a world should become. */
export interface Plan {
  /** Which pods are expected where, on nodes that exist or are coming and on the claims below. */
  readonly placements: readonly Placement[];
  readonly claims: readonly PlannedClaim[];
  readonly refusals: readonly Refusal[];
  /** What must happen to machines others hold, in order. */
  readonly actions?: readonly Action[];
  /** Pods that were not looked at because the work budget was spent: later rounds do, each beginning at others of them. */
  readonly rest?: readonly { readonly tenant: string; readonly pods: readonly string[] }[];
}

/** Said of {@link Plan.rest}. */
export const LEFT_OVER =
  "left over: the work budget of its tenant was spent before it; each round takes some of those left over, in turn, once it has looked at the first";

/** One step of taking a machine from who has it. */
export interface Action {
  /** `evict`: preempted on its own tenant's node, which stays. */
  readonly verb: "drain" | "evict" | "wipe" | "give" | "release";
  /** A node; for `give` and `wipe` its machine. */
  readonly node: string;
  readonly machine?: string;
  readonly from: string;
  /** Who gets it. */
  readonly to?: string;
  /** Those that must go. */
  readonly pods: readonly string[];
  readonly reason: string;
}

export interface Placement {
  readonly tenant: string;
  /** A node of the world, or the machine of a planned claim. */
  readonly node: string;
  readonly planned: boolean;
  readonly pods: readonly string[];
}

export interface PlannedClaim {
  readonly tenant: string;
  readonly pool: string;
  readonly machineClass: string;
  readonly machine: string;
  /** Of the node to come. */
  readonly labels: Readonly<Record<string, string>>;
  readonly requirements: readonly Requirement[];
  /** Of its pods and daemons together. */
  readonly requests: Resources;
  readonly taints: readonly Taint[];
  readonly startupTaints: readonly Taint[];
  readonly capacity: Resources;
  readonly allocatable: Resources;
  /** The machine is still on its way out: nothing is installed before it is free. */
  readonly awaiting?: { readonly readyInS: number };
  readonly gang?: string;
  readonly cost?: number;
}

export interface Refusal {
  readonly tenant: string;
  readonly pods: readonly string[];
  /** One line for people. */
  readonly reason: string;
  readonly pools: readonly PoolRefusal[];
  readonly gang?: string;
  /** The smallest change that would help, where one is known. */
  readonly hint?: string;
}

export interface PoolRefusal {
  readonly pool: string;
  readonly machineClass: string;
  /** What rules the whole pool out. */
  readonly problem?: string;
  /** Machines the class selects. */
  readonly machines: number;
  readonly because: readonly { readonly reason: string; readonly count: number }[];
}

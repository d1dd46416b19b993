import type { Resources } from "../../core/quantity.ts";
import type { LabelSelector } from "../../core/requirements.ts";
import type { Requirement, RootDevice, Taint } from "../../core/resources.ts";

/** All that a plan depends on: a value, so that the same world always gives the same plan. */
export interface World {
  readonly tenants: readonly TenantWorld[];
  /** The whole inventory; a machine that cannot be had now says why. */
  readonly machines: readonly MachineSupply[];
}

export interface TenantWorld {
  /** `namespace.name`. */
  readonly tenant: string;
  readonly pools: readonly PoolWorld[];
  /** Nodes that exist or are coming. */
  readonly nodes: readonly NodeSupply[];
  readonly pods: readonly PendingPod[];
  readonly daemons: readonly Daemon[];
  /** What running pods keep away from themselves. */
  readonly repelling: readonly Repelling[];
}

/** A NodePool with its MachineClass. */
export interface PoolWorld {
  readonly name: string;
  /** The heavier pool is tried first. */
  readonly weight: number;
  /** Why nothing may be claimed from it now. */
  readonly problem?: string;
  readonly machineClass: ClassWorld;
  readonly requirements: readonly Requirement[];
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  readonly startupTaints: readonly Taint[];
  /** Of all its machines together; `nodes` counts them. */
  readonly limits: Resources;
  /** Whether a pod that wants no accelerator may claim a machine that has some. */
  readonly plainPodsOnAccelerators: boolean;
}

export interface ClassWorld {
  readonly name: string;
  /** Labels a Machine must have; none selects all. */
  readonly selector: Readonly<Record<string, string>>;
  readonly gpus?: { readonly count: number; readonly id?: string };
  readonly rootDevice?: RootDevice;
  /** The image it writes; a machine that carries it already is preferred among equals. */
  readonly image?: { readonly sha256: string; readonly sizeBytes: number };
}

export interface MachineSupply {
  readonly name: string;
  /** The Machine's own labels: classes select by them, pools may. */
  readonly labels: Readonly<Record<string, string>>;
  /** Labels of every node made of it. */
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly capacity: Resources;
  readonly allocatable: Resources;
  /** PCI ids, one a GPU. */
  readonly gpus: readonly string[];
  readonly disks: readonly {
    readonly name: string;
    readonly serial: string;
    readonly wwn?: string;
    readonly model: string;
    readonly sizeBytes: number;
  }[];
  /** Why it cannot be claimed now ("in use", "quarantined" …); absent when it is free. */
  readonly unavailable?: string;
  readonly imageSha256?: string;
}

export interface NodeSupply {
  readonly name: string;
  readonly pool?: string;
  /** Sorts nodes that are coming: the earliest claim first. */
  readonly since: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  /** Of its claim: not in the way while the node is coming up. */
  readonly startupTaints: readonly Taint[];
  readonly initialized: boolean;
  /** On its way out: its capacity is nobody's, but it still counts against limits. */
  readonly leaving: boolean;
  readonly capacity: Resources;
  readonly allocatable: Resources;
  /** What the pods bound to it asked for, `pods` included. */
  readonly used: Resources;
  readonly hostPorts: readonly HostPort[];
  /** Daemons that run there already; the others still need their share. */
  readonly daemons: readonly string[];
}

export interface PendingPod {
  /** `namespace/name`. */
  readonly key: string;
  readonly since: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly needs: PodNeeds;
}

/** What decides where a pod can run; pods with equal needs are planned as one kind. */
export interface PodNeeds {
  /** What the scheduler counts, `pods: 1` included. */
  readonly requests: Resources;
  /** Node selector and required node affinity: one of these lists must hold; an empty list always holds, no list never. */
  readonly terms: readonly (readonly Requirement[])[];
  readonly tolerations: readonly Toleration[];
  readonly hostPorts: readonly HostPort[];
  /** What of it the planner cannot weigh yet: such a pod is refused, never guessed at. */
  readonly unsupported?: string;
}

export interface Daemon {
  readonly name: string;
  readonly needs: PodNeeds;
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

export interface HostPort {
  readonly ip: string;
  readonly port: number;
  readonly protocol: string;
}

/** A running pod's required anti-affinity: which newcomers it keeps away. */
export interface Repelling {
  readonly pod: string;
  readonly namespaces: readonly string[] | "all";
  readonly selector: LabelSelector;
}

// ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface Plan {
  /** Which pods are expected where, on nodes that exist or are coming and on the claims below. */
  readonly placements: readonly Placement[];
  readonly claims: readonly PlannedClaim[];
  readonly refusals: readonly Refusal[];
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
}

export interface Refusal {
  readonly tenant: string;
  readonly pods: readonly string[];
  /** One line for people. */
  readonly reason: string;
  readonly pools: readonly PoolRefusal[];
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

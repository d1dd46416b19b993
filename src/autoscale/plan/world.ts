import type { Resources } from "../../core/quantity.ts";
import type { LabelSelector } from "../../core/requirements.ts";
import type { Requirement, RootDevice, Taint } from "../../core/resources.ts";

/**
 * All that a plan depends on: a value, so that the same world always gives the same plan. Times are seconds; an age
 * counts back from the moment the world was taken, `…InS` counts forward from it.
 */
export interface World {
  /** Seconds since 1970, for schedules of budgets; ages do not need it. */
  readonly now?: number;
  readonly tenants: readonly TenantWorld[];
  /** The whole inventory; a machine that cannot be had now says why. */
  readonly machines: readonly MachineSupply[];
  /** Machines of which there are as many as anybody wants, for what-if: the nth is named `NAME-n`. */
  readonly catalog?: readonly MachineSupply[];
  readonly windows?: readonly Window[];
  /** What tenants may have together; who names a project that is not here is bound by none. */
  readonly projects?: readonly Project[];
  readonly floors?: readonly WarmFloor[];
  readonly policy?: Policy;
}

/** What the operator decided for everybody. */
export interface Policy {
  /**
   * `rank` (the default): preferences choose among places and never buy a server. `respect`: treated as hard and
   * given up one at a time, as Karpenter does. `ignore`: not looked at.
   */
  readonly preferences?: "rank" | "respect" | "ignore";
  /** Whether a pool's `minValues` keep it from opening a machine (`Strict`, the default), or are not looked at. */
  readonly minValues?: "Strict" | "BestEffort";
  /**
   * A machine on its way out that is ready within so long counts for who finds no free one; 0 or absent: never. Where it is
   * given, it bounds the wait for a wipe too.
   */
  readonly waitForWipeS?: number;
  /** What has run for less is neither reclaimed nor preempted. */
  readonly minRuntimeS?: number;
  /** Pods of a lower priority use what is there and buy nothing. */
  readonly expendableBelow?: number;
  /** How much a plan may look at before it leaves the rest for the next round; counted, not clocked. */
  readonly work?: number;
  /** From releasing a machine to the next tenant's node: drain, wipe and install. */
  readonly turnaroundS?: number;
  /** What a wipe takes: a machine another tenant wrote to is free after so long. */
  readonly wipeS?: number;
}

/** A window in which machines are kept for a tenant. */
export interface Window {
  readonly name: string;
  readonly tenant: string;
  /** Labels a machine must have as a node; all that match when `count` is absent. */
  readonly selector: Readonly<Record<string, string>>;
  readonly count?: number;
  /** 0 or less: it has begun. */
  readonly startsInS: number;
  readonly endsInS: number;
}

/** So many machines of a class stay free and ready, but for who may take from them: tenants within their nominal quota, and urgent pods. */
export interface WarmFloor {
  readonly machineClass: string;
  /** Labels a Machine must have; as the class selects. */
  readonly selector: Readonly<Record<string, string>>;
  readonly count: number;
  /** Pods of this priority and above are urgent; absent: of any above 0, which is what pods have that name none. */
  readonly priority?: number;
}

export interface TenantWorld {
  /** `namespace.name`. */
  readonly tenant: string;
  readonly pools: readonly PoolWorld[];
  /** Nodes that exist or are coming. */
  readonly nodes: readonly NodeSupply[];
  readonly pods: readonly PendingPod[];
  readonly gangs?: readonly Gang[];
  readonly daemons: readonly Daemon[];
  readonly quota?: Quota;
  /** Of {@link World.projects}, by name. */
  readonly project?: string;
  /** Its own {@link Policy.minRuntimeS}. */
  readonly minRuntimeS?: number;
  /** Labels of its namespaces, for namespace selectors; a namespace that is missing has none but its name. */
  readonly namespaces?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** What the tenants of a project may have together, whatever each may have by its own quota. */
export interface Project {
  readonly name: string;
  /** By what is counted: `machines`, or a resource such as `nvidia.com/gpu`. */
  readonly limits: ReadonlyMap<string, number>;
  /** Capacities of nodes of its tenants that are not in this world: they sleep, or do not answer. */
  readonly elsewhere?: readonly Resources[];
}

/** What a tenant may have. Tenants of one cohort lend to each other. */
export interface Quota {
  /** Its own; what others borrow of it comes back when it is wanted. Absent: it owns nothing and is bound by nothing. */
  readonly nominal?: number;
  /** How much more than nominal it may hold; absent: what there is. */
  readonly borrow?: number;
  /** How much of nominal others may hold; absent: all. */
  readonly lend?: number;
  /** Its share of what is not owned, against others'; 1 when absent. */
  readonly weight?: number;
  /** What the numbers count: `machines` (the default) or a resource such as `nvidia.com/gpu`. */
  readonly unit?: string;
  readonly cohort?: string;
}

/** Pods that start together or not at all. Its members are the pods that name it, pending and running. */
export interface Gang {
  readonly name: string;
  /** So many members at least, those that run included. */
  readonly min: number;
  /** So many at most; more than `min` only where there is room. */
  readonly size: number;
  readonly topology?: GangTopology;
}

/** Levels are node labels, such as `topology.ironwright.dev/rack`. */
export interface GangTopology {
  readonly required?: string;
  readonly preferred?: string;
  /** Each `size` members in one domain of `level`. */
  readonly slice?: { readonly size: number; readonly level: string };
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
  readonly disruption?: PoolDisruption;
  /** A pool of a fixed size: so many machines, whatever pods want. */
  readonly replicas?: number;
}

export interface PoolDisruption {
  readonly policy: "WhenEmpty" | "WhenEmptyOrUnderutilized" | "Balanced";
  readonly consolidateAfterS: number | "never";
  readonly budgets: readonly Budget[];
  readonly expireAfterS?: number;
  readonly terminationGracePeriodS?: number;
}

/** How many nodes of a pool may be down at once. */
export interface Budget {
  /** A number or a percentage, which rounds up. */
  readonly nodes: string;
  /** `Underutilized`, `Empty`, `Drifted` …; absent: all. */
  readonly reasons?: readonly string[];
  /** UTC cron; with `durationS`. */
  readonly schedule?: string;
  readonly durationS?: number;
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
  /** Labels of every node made of it: zone, rack, block, NVLink domain and leaf switch among them. */
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
  /** Why it cannot be claimed now ("in use", "quarantined" …); absent when it is free or about to be. */
  readonly unavailable?: string;
  /** On its way out (drained, wiped): free after so long. Claimed only within the policy's `waitForWipeS`. */
  readonly readyInS?: number;
  /** Who wrote to its disks last; not wiped since when it is set. */
  readonly lastTenant?: string;
  readonly imageSha256?: string;
  /** Installations that failed lately, and how long ago the last did: such a machine is tried last. */
  readonly failures?: { readonly count: number; readonly sinceS: number };
  /** What it costs against others, as the operator says; 1 when absent. */
  readonly cost?: number;
}

export interface NodeSupply {
  readonly name: string;
  readonly pool?: string;
  /** The machine it is, when it is one of the inventory. */
  readonly machine?: string;
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
  /** The pods bound to it that are not daemons'. */
  readonly pods?: readonly RunningPod[];
  /** Since its claim was made. */
  readonly ageS?: number;
  /** Since the last pod came or went, when none is there. */
  readonly emptyForS?: number;
  /** Since the last pod came or went. */
  readonly quietForS?: number;
  /** Why it is not what its pool would make today. */
  readonly drifted?: string;
  /** Since that was found. */
  readonly driftedForS?: number;
  /** Of its claim, where it has its own; else the pool's hold. */
  readonly expireAfterS?: number;
  readonly terminationGracePeriodS?: number;
  readonly doNotDisrupt?: boolean;
  readonly cost?: number;
}

/** A pod bound to a node. */
export interface RunningPod {
  /** `namespace/name`. */
  readonly key: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly priority: number;
  /** Where it could run instead; its required anti-affinity keeps newcomers away. */
  readonly needs: PodNeeds;
  readonly gang?: string;
  /** Since it was bound. */
  readonly ageS?: number;
  /** A budget that lets nobody evict it now: its name. */
  readonly blockedBy?: string;
  /** Asked not to be disrupted, now. */
  readonly doNotDisrupt?: boolean;
  /** `controller.kubernetes.io/pod-deletion-cost`. */
  readonly deletionCost?: number;
  /** No controller makes it again once it is gone. */
  readonly bare?: boolean;
  /** When it is known to end at the latest: its machine may be counted on after that. */
  readonly endsInS?: number;
  /** Evicted and begun anew it has ended after so long. */
  readonly maxRuntimeS?: number;
}

export interface PendingPod {
  /** `namespace/name`. */
  readonly key: string;
  /** When it was made; any text that sorts. */
  readonly since: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Equal pods may share one object: they are told apart more cheaply then. */
  readonly needs: PodNeeds;
  readonly gang?: string;
  /** Scheduling gates it still has: it is not planned. */
  readonly gates?: readonly string[];
  /** After so long it has ended: it may go before a window. */
  readonly maxRuntimeS?: number;
}

/** What decides where a pod can run; pods with equal needs are planned as one kind. */
export interface PodNeeds {
  /** What the scheduler counts, `pods: 1` and devices by class included. */
  readonly requests: Resources;
  /** Node selector and required node affinity: one of these lists must hold; an empty list always holds, no list never. */
  readonly terms: readonly (readonly Requirement[])[];
  readonly tolerations: readonly Toleration[];
  readonly hostPorts: readonly HostPort[];
  /** Each volume wants one of its lists to hold. Not part of what a spread looks at. */
  readonly volumes?: readonly (readonly (readonly Requirement[])[])[];
  readonly preferred?: readonly { readonly weight: number; readonly term: readonly Requirement[] }[];
  readonly spread?: readonly Spread[];
  readonly affinity?: readonly PodTerm[];
  readonly antiAffinity?: readonly PodTerm[];
  readonly preferredAffinity?: readonly WeightedPodTerm[];
  readonly preferredAntiAffinity?: readonly WeightedPodTerm[];
  /** Why it cannot be planned at all: such a pod is refused, never guessed at. */
  readonly unsupported?: string;
}

/** A topology spread constraint; `matchLabelKeys` are part of the selector already. */
export interface Spread {
  readonly key: string;
  readonly maxSkew: number;
  /** DoNotSchedule; otherwise it is a preference. */
  readonly hard: boolean;
  /** Of pods in the pod's own namespace; absent: no pod. */
  readonly selector?: LabelSelector;
  readonly minDomains?: number;
  /** `Honor` when absent: nodes the pod's node affinity rules out are no domains. */
  readonly nodeAffinityPolicy?: "Honor" | "Ignore";
  /** `Ignore` when absent: nodes with taints it does not tolerate are domains. */
  readonly nodeTaintsPolicy?: "Honor" | "Ignore";
}

/** A term of pod affinity or anti-affinity; `matchLabelKeys` are part of the selector already. */
export interface PodTerm {
  readonly key: string;
  /** Absent: no pod. */
  readonly selector?: LabelSelector;
  /** Absent with no {@link PodTerm.namespaceSelector}: the pod's own namespace. */
  readonly namespaces?: readonly string[];
  readonly namespaceSelector?: LabelSelector;
}

export interface WeightedPodTerm extends PodTerm {
  readonly weight: number;
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

import type { Condition } from "./conditions.ts";
import type { VirtualClusterSpec, VirtualClusterStatus, VirtualClusterTemplateSpec } from "./virtual-clusters.ts";

/** What every Kubernetes object has. Timestamps are RFC 3339. */
export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
}

/** Where a kind lives in an apiserver's paths. */
export interface Kind<T extends Resource = Resource> {
  readonly group: string;
  readonly version: string;
  readonly kind: T["kind"];
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never set; carries T so that calls infer it. */
  readonly resource?: T;
}

// ── ironwright.dev/v1alpha1 ──────────────────────────────────────────────────────────────────────────────────────

export type Phase = "Discovered" | "Inspecting" | "Available" | "Installing" | "Joining" | "InUse" | "Releasing";

export type OperationKind = "inspect" | "install" | "release";

/** One physical server. */
export interface Machine extends Resource {
  readonly apiVersion: "ironwright.dev/v1alpha1";
  readonly kind: "Machine";
  readonly spec: MachineSpec;
  readonly status?: MachineStatus;
}

export interface MachineSpec {
  readonly bmc: BmcSpec;
  /** MAC of the NIC that network boots, lower case, colons. */
  readonly bootMAC: string;
  readonly position?: Position;
  /** Consent to erase what is on its disks. Without it a server that carries data is inspected read-only. */
  readonly erase?: boolean;
  readonly maintenance?: boolean;
  readonly rootDevice?: RootDevice;
  /** Who has it. Set by the claim controller under the Machine's resourceVersion, cleared by the release saga's last step. */
  readonly claimRef?: ClaimRef;
}

export interface ClaimRef {
  readonly name: string;
  readonly uid: string;
  /** `namespace.name` of the VirtualCluster. */
  readonly tenant: string;
}

export interface BmcSpec {
  /** `redfish://host[:port][/redfish/v1/Systems/id]` (TLS), `redfish+http://…`, `ipmi://host[:port]`. */
  readonly address: string;
  /** A Secret in `ironwright-system` with keys `username` and `password`. */
  readonly credentialsSecret: string;
  /** SHA-256 fingerprint (hex, of the DER certificate) the BMC must show; without it the system's CAs decide. */
  readonly certificateSha256?: string;
  /** Accept any certificate. For BMCs on a network nobody else is on. */
  readonly insecureSkipVerify?: boolean;
}

export interface Position {
  readonly site?: string;
  readonly rack?: string;
  readonly unit?: number;
  readonly nvlinkDomain?: string;
  readonly leafSwitch?: string;
}

/** Which disk becomes the root disk: all given must match; the smallest match of at least `minSizeGiB` wins. */
export interface RootDevice {
  readonly serial?: string;
  readonly wwn?: string;
  readonly model?: string;
  readonly name?: string;
  readonly minSizeGiB?: number;
}

export interface MachineStatus {
  readonly phase?: Phase;
  readonly conditions?: readonly Condition[];
  readonly inventory?: Inventory;
  /** The inventory in a few words, for lists: see summaryOf. */
  readonly summary?: MachineSummary;
  readonly power?: "On" | "Off" | "Unknown";
  /** Address on the provisioning network. */
  readonly address?: string;
  /** The operation that owns the machine, or the last one that did. Its fence only grows. */
  readonly operation?: Operation;
  /** Newest last, bounded. */
  readonly history?: readonly HistoryEntry[];
  /** `ssh-ed25519 AAAA…` of the installed system, pinned by the install saga. */
  readonly hostKey?: string;
  /** The tenant whose data may be on the disks; gone once the wipe was read back. */
  readonly lastTenant?: string;
  /** The claim it was installed for, kept for its revocation; goes with `lastTenant`. */
  readonly lastClaim?: ClaimRef;
  readonly lastWipe?: WipeRecord;
  /** Digest of the OSImage on the root disk; absent after a wipe. */
  readonly imageSha256?: string;
}

export interface MachineSummary {
  /** Hardware threads. */
  readonly cpu: string;
  readonly memory: string;
  /** `2× H100 SXM5 80GB`, or `none`. */
  readonly gpus: string;
}

export interface WipeRecord {
  readonly at: string;
  readonly tenant?: string;
  readonly disks: readonly {
    readonly path: string;
    readonly serial: string;
    readonly method: string;
    readonly samples: number;
    readonly verified: boolean;
  }[];
}

export interface Operation {
  readonly kind: OperationKind;
  /** The fence: a worker that holds another number owns nothing. */
  readonly fence: number;
  readonly state: "Running" | "Succeeded" | "Failed";
  /** The step under way, or the one that failed. */
  readonly step?: string;
  /** Steps done, in order, with what each recorded for later ones (never a secret). */
  readonly done: readonly StepRecord[];
  readonly startedAt: string;
  readonly deadline: string;
  readonly attempt: number;
  readonly nextTryAt?: string;
  /** This attempt's boot nonce. */
  readonly nonce?: string;
}

export interface StepRecord {
  readonly step: string;
  readonly at: string;
  readonly seconds: number;
  readonly facts?: Readonly<Record<string, string>>;
}

export interface HistoryEntry {
  readonly at: string;
  readonly phase: Phase;
  readonly event: string;
  readonly message: string;
  readonly seconds?: number;
}

/** What the inspection found. Sizes in bytes. */
export interface Inventory {
  readonly system: { readonly manufacturer: string; readonly product: string; readonly serial: string; readonly uuid: string };
  readonly firmware: "bios" | "uefi";
  readonly architecture: "x86_64" | "aarch64";
  readonly cpu: { readonly model: string; readonly sockets: number; readonly cores: number; readonly threads: number };
  readonly memoryBytes: number;
  readonly disks: readonly Disk[];
  readonly nics: readonly { readonly name: string; readonly mac: string; readonly driver?: string; readonly link: boolean }[];
  readonly gpus: readonly Gpu[];
}

export interface Disk {
  readonly path: string;
  readonly name: string;
  readonly serial: string;
  readonly wwn?: string;
  readonly model: string;
  readonly sizeBytes: number;
  readonly rotational: boolean;
  /** Signatures wipefs knows (a partition table, a filesystem …), `unknown` where it could not look; empty when the disk looks blank. */
  readonly signatures: readonly string[];
}

export interface Gpu {
  /** PCI address, e.g. `0000:43:00.0`. */
  readonly address: string;
  /** `10de:2330`. */
  readonly id: string;
  readonly model: string;
  readonly numaNode: number;
}

/** Which machines it selects and what they become. */
export interface MachineClass extends Resource {
  readonly apiVersion: "ironwright.dev/v1alpha1";
  readonly kind: "MachineClass";
  readonly spec: {
    /** Label selector over Machines; empty selects all. */
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly image: string;
    readonly rootDevice?: RootDevice;
    /** Before the node takes pods: at least so many GPUs, of that PCI id if given. */
    readonly gpus?: { readonly count: number; readonly id?: string };
    /** `quick` clears what a reader of the block device can see of the last tenant; see docs/guide. */
    readonly wipe?: "discard" | "zero";
    readonly keepSSHKey?: boolean;
    readonly kernelArguments?: readonly string[];
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface OSImage extends Resource {
  readonly apiVersion: "ironwright.dev/v1alpha1";
  readonly kind: "OSImage";
  readonly spec: {
    /** `http(s)://…` or `file:///…` on the daemon's host. */
    readonly url: string;
    readonly sha256: string;
    /** How the root file system is packed. */
    readonly format: "ext4+zstd" | "ext4+lz4" | "tar+zstd";
    /** Bytes of the root file system once unpacked: a smaller disk is refused before anything is written. */
    readonly sizeBytes: number;
    readonly kernelArguments?: readonly string[];
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** A tenant's control plane. */
export interface VirtualCluster extends Resource {
  readonly apiVersion: "ironwright.dev/v1alpha1";
  readonly kind: "VirtualCluster";
  readonly spec: VirtualClusterSpec;
  readonly status?: VirtualClusterStatus;
}

/** What many VirtualClusters have in common. */
export interface VirtualClusterTemplate extends Resource {
  readonly apiVersion: "ironwright.dev/v1alpha1";
  readonly kind: "VirtualClusterTemplate";
  readonly spec: VirtualClusterTemplateSpec;
}

// ── karpenter.sh/v1 ──────────────────────────────────────────────────────────────────────────────────────────────

export interface Requirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" | "Gte" | "Lte";
  readonly values?: readonly string[];
  readonly minValues?: number;
}

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
}

export interface NodeClassRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

export interface NodePool extends Resource {
  readonly apiVersion: "karpenter.sh/v1";
  readonly kind: "NodePool";
  readonly spec: {
    readonly template: {
      readonly metadata?: { readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
      readonly spec: {
        readonly nodeClassRef: NodeClassRef;
        readonly requirements?: readonly Requirement[];
        readonly taints?: readonly Taint[];
        readonly startupTaints?: readonly Taint[];
        readonly expireAfter?: string;
        readonly terminationGracePeriod?: string;
      };
    };
    readonly disruption?: {
      readonly consolidationPolicy?: "WhenEmpty" | "WhenEmptyOrUnderutilized" | "Balanced";
      readonly consolidateAfter?: string;
      readonly budgets?: readonly {
        readonly nodes: string;
        readonly reasons?: readonly string[];
        readonly schedule?: string;
        readonly duration?: string;
      }[];
    };
    readonly limits?: Readonly<Record<string, string | number>>;
    readonly weight?: number;
    readonly replicas?: number;
  };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly resources?: Readonly<Record<string, string>>;
    readonly nodes?: number;
  };
}

export interface NodeClaim extends Resource {
  readonly apiVersion: "karpenter.sh/v1";
  readonly kind: "NodeClaim";
  readonly spec: {
    readonly nodeClassRef: NodeClassRef;
    readonly requirements: readonly Requirement[];
    readonly resources?: { readonly requests?: Readonly<Record<string, string>> };
    readonly taints?: readonly Taint[];
    readonly startupTaints?: readonly Taint[];
    readonly expireAfter?: string;
    readonly terminationGracePeriod?: string;
  };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly nodeName?: string;
    readonly providerID?: string;
    readonly imageID?: string;
    readonly capacity?: Readonly<Record<string, string>>;
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly lastPodEventTime?: string;
  };
}

// ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────

const ironwright = { group: "ironwright.dev", version: "v1alpha1" } as const;
const karpenter = { group: "karpenter.sh", version: "v1" } as const;

export const MACHINE: Kind<Machine> = { ...ironwright, kind: "Machine", plural: "machines", namespaced: false };
export const MACHINE_CLASS: Kind<MachineClass> = { ...ironwright, kind: "MachineClass", plural: "machineclasses", namespaced: false };
export const OS_IMAGE: Kind<OSImage> = { ...ironwright, kind: "OSImage", plural: "osimages", namespaced: false };
export const VIRTUAL_CLUSTER: Kind<VirtualCluster> = { ...ironwright, kind: "VirtualCluster", plural: "virtualclusters", namespaced: true };
export const VIRTUAL_CLUSTER_TEMPLATE: Kind<VirtualClusterTemplate> = {
  ...ironwright,
  kind: "VirtualClusterTemplate",
  plural: "virtualclustertemplates",
  namespaced: true,
};
export const NODE_POOL: Kind<NodePool> = { ...karpenter, kind: "NodePool", plural: "nodepools", namespaced: false };
export const NODE_CLAIM: Kind<NodeClaim> = { ...karpenter, kind: "NodeClaim", plural: "nodeclaims", namespaced: false };

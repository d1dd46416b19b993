import type { Condition } from "../core/conditions.ts";
import type { Kind, Resource, Taint } from "../core/resources.ts";
import type { LabelSelector, NodeSelectorTerm, Pod, PodSpec, ResourceList, UpstreamCondition } from "./pod.ts";

/** Upstream's objects as far as the roads use them. What is not named here survives a read and a replace all the same. */

// ── core/v1 ──────────────────────────────────────────────────────────────────────────────────────────────────────

export interface Node extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "Node";
  readonly spec: {
    readonly providerID?: string;
    readonly podCIDR?: string;
    readonly unschedulable?: boolean;
    readonly taints?: readonly (Taint & { readonly timeAdded?: string })[];
  };
  readonly status?: {
    readonly capacity?: ResourceList;
    readonly allocatable?: ResourceList;
    readonly conditions?: readonly UpstreamCondition[];
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly nodeInfo?: Readonly<Record<string, unknown>> & { readonly kubeletVersion?: string };
  };
}

export interface Secret extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "Secret";
  readonly type?: string;
  readonly immutable?: boolean;
  /** Values in base64. */
  readonly data?: Readonly<Record<string, string>>;
  /** Written only: the apiserver moves it into `data`. */
  readonly stringData?: Readonly<Record<string, string>>;
}

export interface ConfigMap extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "ConfigMap";
  readonly data?: Readonly<Record<string, string>>;
}

export interface Namespace extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "Namespace";
  readonly spec?: { readonly finalizers?: readonly string[] };
  readonly status?: { readonly phase?: "Active" | "Terminating" };
}

export interface ResourceQuota extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "ResourceQuota";
  readonly spec?: {
    readonly hard?: Readonly<Record<string, string>>;
    readonly scopes?: readonly string[];
    readonly scopeSelector?: object;
  };
  readonly status?: { readonly hard?: Readonly<Record<string, string>>; readonly used?: Readonly<Record<string, string>> };
}

export interface ServiceAccount extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "ServiceAccount";
}

export interface ObjectReference {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly fieldPath?: string;
}

/** core/v1, not events.k8s.io/v1: `kubectl describe` reads either, and this one is written by what most people know. */
export interface Event extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "Event";
  readonly involvedObject: ObjectReference;
  readonly type?: "Normal" | "Warning";
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly firstTimestamp?: string;
  readonly lastTimestamp?: string;
  readonly source?: { readonly component?: string; readonly host?: string };
  readonly reportingComponent?: string;
  readonly reportingInstance?: string;
}

export interface PersistentVolumeClaim extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "PersistentVolumeClaim";
  /** `volumeName`: the volume it is bound to. */
  readonly spec: { readonly storageClassName?: string; readonly volumeName?: string };
}

export interface PersistentVolume extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "PersistentVolume";
  readonly spec: { readonly nodeAffinity?: { readonly required?: { readonly nodeSelectorTerms: readonly NodeSelectorTerm[] } } };
}

export interface StorageClass extends Resource {
  readonly apiVersion: "storage.k8s.io/v1";
  readonly kind: "StorageClass";
  readonly volumeBindingMode?: "Immediate" | "WaitForFirstConsumer";
  readonly allowedTopologies?: readonly {
    readonly matchLabelExpressions?: readonly { readonly key: string; readonly values: readonly string[] }[];
  }[];
}

// ── other groups ─────────────────────────────────────────────────────────────────────────────────────────────────

export interface CertificateSigningRequest extends Resource {
  readonly apiVersion: "certificates.k8s.io/v1";
  readonly kind: "CertificateSigningRequest";
  readonly spec: {
    /** PEM in base64. */
    readonly request: string;
    readonly signerName: string;
    readonly usages?: readonly string[];
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
    readonly expirationSeconds?: number;
  };
  readonly status?: {
    readonly certificate?: string;
    readonly conditions?: readonly (UpstreamCondition & { readonly lastUpdateTime?: string })[];
  };
}

interface PodTemplate {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: PodSpec;
}

export interface DaemonSet extends Resource {
  readonly apiVersion: "apps/v1";
  readonly kind: "DaemonSet";
  readonly spec: { readonly selector: LabelSelector; readonly template: PodTemplate };
  readonly status?: { readonly desiredNumberScheduled?: number; readonly numberReady?: number };
}

export interface Deployment extends Resource {
  readonly apiVersion: "apps/v1";
  readonly kind: "Deployment";
  readonly spec: { readonly replicas?: number; readonly selector: LabelSelector; readonly template: PodTemplate };
  readonly status?: { readonly replicas?: number; readonly readyReplicas?: number; readonly availableReplicas?: number };
}

export interface PodDisruptionBudget extends Resource {
  readonly apiVersion: "policy/v1";
  readonly kind: "PodDisruptionBudget";
  readonly spec: {
    readonly selector?: LabelSelector;
    readonly minAvailable?: number | string;
    readonly maxUnavailable?: number | string;
    readonly unhealthyPodEvictionPolicy?: "IfHealthyBudget" | "AlwaysAllow";
  };
  readonly status?: { readonly disruptionsAllowed?: number; readonly conditions?: readonly Condition[] };
}

export interface Lease extends Resource {
  readonly apiVersion: "coordination.k8s.io/v1";
  readonly kind: "Lease";
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

export interface RoleRef {
  readonly apiGroup: "rbac.authorization.k8s.io";
  readonly kind: "ClusterRole" | "Role";
  readonly name: string;
}

export interface Subject {
  readonly kind: "User" | "Group" | "ServiceAccount";
  readonly name: string;
  readonly namespace?: string;
  readonly apiGroup?: string;
}

export interface EndpointPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
}

export interface Endpoints extends Resource {
  readonly apiVersion: "v1";
  readonly kind: "Endpoints";
  readonly subsets?: readonly { readonly addresses: readonly { readonly ip: string }[]; readonly ports: readonly EndpointPort[] }[];
}

export interface EndpointSlice extends Resource {
  readonly apiVersion: "discovery.k8s.io/v1";
  readonly kind: "EndpointSlice";
  readonly addressType: "IPv4" | "IPv6";
  readonly endpoints: readonly { readonly addresses: readonly string[]; readonly conditions?: { readonly ready: boolean } }[];
  readonly ports: readonly EndpointPort[];
}

export interface ClusterRole extends Resource {
  readonly apiVersion: "rbac.authorization.k8s.io/v1";
  readonly kind: "ClusterRole";
  readonly rules?: readonly PolicyRule[] | null;
}

export interface ClusterRoleBinding extends Resource {
  readonly apiVersion: "rbac.authorization.k8s.io/v1";
  readonly kind: "ClusterRoleBinding";
  readonly roleRef: RoleRef;
  readonly subjects?: readonly Subject[];
}

export interface Role extends Resource {
  readonly apiVersion: "rbac.authorization.k8s.io/v1";
  readonly kind: "Role";
  readonly rules?: readonly PolicyRule[] | null;
}

export interface RoleBinding extends Resource {
  readonly apiVersion: "rbac.authorization.k8s.io/v1";
  readonly kind: "RoleBinding";
  readonly roleRef: RoleRef;
  readonly subjects?: readonly Subject[];
}

export interface ResourceRule {
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly operations: readonly string[];
  readonly resources: readonly string[];
  readonly scope?: string;
  readonly resourceNames?: readonly string[];
}

export interface ValidatingAdmissionPolicy extends Resource {
  readonly apiVersion: "admissionregistration.k8s.io/v1";
  readonly kind: "ValidatingAdmissionPolicy";
  readonly spec: {
    readonly failurePolicy?: "Fail" | "Ignore";
    readonly paramKind?: { readonly apiVersion: string; readonly kind: string };
    readonly matchConstraints?: {
      readonly resourceRules?: readonly ResourceRule[];
      readonly excludeResourceRules?: readonly ResourceRule[];
      readonly matchPolicy?: "Exact" | "Equivalent";
    };
    readonly matchConditions?: readonly { readonly name: string; readonly expression: string }[];
    readonly variables?: readonly { readonly name: string; readonly expression: string }[];
    readonly validations?: readonly {
      readonly expression: string;
      readonly message?: string;
      readonly messageExpression?: string;
      readonly reason?: string;
    }[];
  };
}

export interface ValidatingAdmissionPolicyBinding extends Resource {
  readonly apiVersion: "admissionregistration.k8s.io/v1";
  readonly kind: "ValidatingAdmissionPolicyBinding";
  readonly spec: {
    readonly policyName: string;
    readonly paramRef?: {
      readonly name?: string;
      readonly namespace?: string;
      readonly selector?: LabelSelector;
      readonly parameterNotFoundAction?: "Allow" | "Deny";
    };
    readonly validationActions: readonly ("Deny" | "Warn" | "Audit")[];
  };
}

export interface CustomResourceDefinition extends Resource {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "CustomResourceDefinition";
  readonly spec: Readonly<Record<string, unknown>> & { readonly group: string };
  readonly status?: { readonly conditions?: readonly UpstreamCondition[]; readonly storedVersions?: readonly string[] };
}

// ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────

const core = { group: "", version: "v1" } as const;
const apps = { group: "apps", version: "v1" } as const;
const rbac = { group: "rbac.authorization.k8s.io", version: "v1" } as const;
const admission = { group: "admissionregistration.k8s.io", version: "v1" } as const;

export const POD: Kind<Pod> = { ...core, kind: "Pod", plural: "pods", namespaced: true };
export const NODE: Kind<Node> = { ...core, kind: "Node", plural: "nodes", namespaced: false };
export const SECRET: Kind<Secret> = { ...core, kind: "Secret", plural: "secrets", namespaced: true };
export const CONFIG_MAP: Kind<ConfigMap> = { ...core, kind: "ConfigMap", plural: "configmaps", namespaced: true };
export const NAMESPACE: Kind<Namespace> = { ...core, kind: "Namespace", plural: "namespaces", namespaced: false };
export const SERVICE_ACCOUNT: Kind<ServiceAccount> = { ...core, kind: "ServiceAccount", plural: "serviceaccounts", namespaced: true };
export const EVENT: Kind<Event> = { ...core, kind: "Event", plural: "events", namespaced: true };
export const RESOURCE_QUOTA: Kind<ResourceQuota> = { ...core, kind: "ResourceQuota", plural: "resourcequotas", namespaced: true };
export const DAEMON_SET: Kind<DaemonSet> = { ...apps, kind: "DaemonSet", plural: "daemonsets", namespaced: true };
export const PVC: Kind<PersistentVolumeClaim> = {
  ...core,
  kind: "PersistentVolumeClaim",
  plural: "persistentvolumeclaims",
  namespaced: true,
};
export const PV: Kind<PersistentVolume> = { ...core, kind: "PersistentVolume", plural: "persistentvolumes", namespaced: false };
export const STORAGE_CLASS: Kind<StorageClass> = {
  group: "storage.k8s.io",
  version: "v1",
  kind: "StorageClass",
  plural: "storageclasses",
  namespaced: false,
};
export const DEPLOYMENT: Kind<Deployment> = { ...apps, kind: "Deployment", plural: "deployments", namespaced: true };
export const CSR: Kind<CertificateSigningRequest> = {
  group: "certificates.k8s.io",
  version: "v1",
  kind: "CertificateSigningRequest",
  plural: "certificatesigningrequests",
  namespaced: false,
};
export const PDB: Kind<PodDisruptionBudget> = {
  group: "policy",
  version: "v1",
  kind: "PodDisruptionBudget",
  plural: "poddisruptionbudgets",
  namespaced: true,
};
export const ENDPOINTS: Kind<Endpoints> = { ...core, kind: "Endpoints", plural: "endpoints", namespaced: true };
export const ENDPOINT_SLICE: Kind<EndpointSlice> = {
  group: "discovery.k8s.io",
  version: "v1",
  kind: "EndpointSlice",
  plural: "endpointslices",
  namespaced: true,
};
export const LEASE: Kind<Lease> = { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", namespaced: true };
export const CLUSTER_ROLE: Kind<ClusterRole> = { ...rbac, kind: "ClusterRole", plural: "clusterroles", namespaced: false };
export const CLUSTER_ROLE_BINDING: Kind<ClusterRoleBinding> = {
  ...rbac,
  kind: "ClusterRoleBinding",
  plural: "clusterrolebindings",
  namespaced: false,
};
export const ROLE: Kind<Role> = { ...rbac, kind: "Role", plural: "roles", namespaced: true };
export const ROLE_BINDING: Kind<RoleBinding> = { ...rbac, kind: "RoleBinding", plural: "rolebindings", namespaced: true };
export const VALIDATING_ADMISSION_POLICY: Kind<ValidatingAdmissionPolicy> = {
  ...admission,
  kind: "ValidatingAdmissionPolicy",
  plural: "validatingadmissionpolicies",
  namespaced: false,
};
export const VALIDATING_ADMISSION_POLICY_BINDING: Kind<ValidatingAdmissionPolicyBinding> = {
  ...admission,
  kind: "ValidatingAdmissionPolicyBinding",
  plural: "validatingadmissionpolicybindings",
  namespaced: false,
};
export const CRD: Kind<CustomResourceDefinition> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
};

/** Labels, annotations, taints and finalizers, in one place. */
export const LABEL_TENANT = "ironwright.dev/tenant";
export const LABEL_NODEPOOL = "karpenter.sh/nodepool";
export const LABEL_MACHINE = "ironwright.dev/machine";
export const LABEL_RACK = "topology.ironwright.dev/rack";
export const LABEL_BLOCK = "topology.ironwright.dev/block";
export const LABEL_LEAF = "topology.ironwright.dev/leaf-switch";
export const LABEL_NVLINK = "topology.ironwright.dev/nvlink-domain";
export const LABEL_SITE = "topology.kubernetes.io/zone";
export const LABEL_HOSTNAME = "kubernetes.io/hostname";
export const LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type";
/** On a NodeClaim: the Machine the planner chose. */
export const ANNOTATION_MACHINE = "ironwright.dev/machine";
export const TAINT_UNREGISTERED = "karpenter.sh/unregistered";
export const TAINT_DISRUPTED = "karpenter.sh/disrupted";
export const FINALIZER_CLAIM = "karpenter.sh/termination";
export const FINALIZER_MACHINE = "ironwright.dev/machine";
export const FINALIZER_TENANT = "ironwright.dev/virtualcluster";
/** Where the daemon's own objects and the BMC Secrets live on the host control plane. */
export const SYSTEM_NAMESPACE = "ironwright-system";

export function providerId(machine: string): string {
  return `ironwright://${machine}`;
}

/** A tenant's name in labels and logs: `namespace.name`; neither part may hold a dot (RFC 1123 labels). */
export interface TenantRef {
  readonly namespace: string;
  readonly name: string;
}

/** Who a VirtualCluster is. */
export function refOf({ metadata }: { readonly metadata: { readonly namespace?: string; readonly name: string } }): TenantRef {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

export function tenantText(ref: TenantRef): string {
  return `${ref.namespace}.${ref.name}`;
}

export function parseTenant(text: string): TenantRef | undefined {
  const [namespace, name, ...rest] = text.split(".");
  return namespace && name && rest.length === 0 ? { namespace, name } : undefined;
}

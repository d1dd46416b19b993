import type { TenantRef } from "../core/names.ts";
import type { NodeClaim } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";

/** What the autoscaler needs of the tenant controller. */
export interface TenantApis {
  /** Those whose control plane is ready. */
  list(): readonly TenantRef[];
  onChange(listener: () => void): void;
  /** @throws IRW_TENANT_NOT_READY */
  kube(ref: TenantRef): Kube;
  /** Takes back all a node may do: token, admission entry, Node object. Gone already is success. */
  revoke(ref: TenantRef, node: { readonly claim: string; readonly claimUid: string; readonly nodeName: string }): Promise<void>;
  /** Keeps what the tenant had of the node whose claim ends, which is still there. Done already is success. */
  keepGivenBack(ref: TenantRef, ending: NodeClaim): Promise<void>;
}

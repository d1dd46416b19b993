import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { FINALIZER_TENANT, LABEL_TENANT, refOf, type TenantRef, tenantText } from "../core/names.ts";
import { MACHINE, NODE_CLAIM, NODE_POOL, VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import { pending, report, unmet } from "./status.ts";

export interface TearDown {
  /** The host control plane. */
  readonly kube: Kube;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly log: Logger;
  /** The control plane answers while its nodes are drained and revoked. */
  keepRunning(): Promise<void>;
  /** Each of these proves what it says, or throws IRW_TENANT_LEFTOVER. */
  removeControlPlane(): Promise<void>;
  removeKeys(): Promise<void>;
  removeSecrets(): Promise<void>;
}

const LOOK_AGAIN_MS = 1000;

/**
 * Takes a tenant down in the order in which its parts need each other: machines given back, processes, keys, secrets,
 * and last the finalizer. A step that fails keeps the VirtualCluster, with the reason.
 */
export async function tearDown(cluster: VirtualCluster, part: TearDown): Promise<{ readonly afterMs: number } | undefined> {
  const { kube, clock, events, log } = part;
  const ref = refOf(cluster);
  if (!cluster.metadata.finalizers?.includes(FINALIZER_TENANT)) return undefined;

  const held = await releaseMachines(kube, ref);
  if (held.length > 0) {
    await report(kube, clock, cluster, {
      phase: "Deleting",
      set: [pending("Ready", "GivingMachinesBack", `waiting for ${held.join(", ")}`)],
    });
    await part.keepRunning();
    return { afterMs: LOOK_AGAIN_MS };
  }

  const reported = await report(kube, clock, cluster, {
    phase: "Deleting",
    set: [pending("Ready", "Deleting", "its control plane is being removed")],
  });
  try {
    await part.removeControlPlane();
    await part.removeKeys();
    await part.removeSecrets();
  } catch (error) {
    await report(kube, clock, reported, { phase: "Deleting", set: [unmet("Ready", error)] });
    throw error;
  }
  const finalizers = (reported.metadata.finalizers ?? []).filter((one) => one !== FINALIZER_TENANT);
  events.record(reported, "Normal", "Removed", "no process, key, file or secret of it is left");
  await kube.replace(VIRTUAL_CLUSTER, { ...reported, metadata: { ...reported.metadata, finalizers } });
  log.info({ tenant: tenantText(ref) }, "tenant removed, nothing left");
  return undefined;
}

/** Asks for the tenant's machines back, and names what still holds one. */
async function releaseMachines(kube: Kube, ref: TenantRef): Promise<readonly string[]> {
  const tenant = tenantText(ref);
  const labelSelector = `${LABEL_TENANT}=${tenant}`;
  // pools first: they make claims anew
  const pools = await kube.list(NODE_POOL, { labelSelector });
  for (const { metadata } of pools.items) if (!metadata.deletionTimestamp) await kube.delete(NODE_POOL, metadata.name);
  const claims = await kube.list(NODE_CLAIM, { labelSelector });
  for (const { metadata } of claims.items) if (!metadata.deletionTimestamp) await kube.delete(NODE_CLAIM, metadata.name);
  const machines = await kube.list(MACHINE);
  return [
    ...(await kube.list(NODE_POOL, { labelSelector })).items.map((one) => `NodePool ${one.metadata.name}`),
    ...(await kube.list(NODE_CLAIM, { labelSelector })).items.map((one) => `NodeClaim ${one.metadata.name}`),
    ...machines.items.filter((one) => one.spec.claimRef?.tenant === tenant).map((one) => `Machine ${one.metadata.name}`),
  ];
}

import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { isTrue, withCondition } from "../../core/conditions.ts";
import { LABEL_NODEPOOL, LABEL_TENANT, parseTenant, type TenantRef } from "../../core/names.ts";
import { type Machine, NODE_CLAIM, type NodeClaim, type NodePool, type VirtualCluster } from "../../core/resources.ts";
import type { EventRecorder, Kube } from "../../kube/index.ts";
import type { TenantView } from "../demand.ts";
import type { TenantApis } from "../tenants.ts";
import { type Drift, machineOf } from "../world/index.ts";

/** What the parts of a claim's life read and touch. */
export interface ClaimContext {
  /** The host control plane. */
  readonly kube: Kube;
  readonly tenants: TenantApis;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  /** The tenant as it is watched; undefined while its control plane is not ready. */
  view(tenant: string): TenantView | undefined;
  /** Copies that may be old: what they say is confirmed before anything is taken away. */
  machine(name: string): Machine | undefined;
  pool(name: string): NodePool | undefined;
  cluster(ref: TenantRef): VirtualCluster | undefined;
  /** Why a claim is not what would be made of it today. */
  drift(claim: NodeClaim): Drift | undefined;
}

/**
 * One part of a claim's life: takes the claim as it stands, does what is due, returns it with its own conditions
 * brought up to date. `ended` when it deleted the claim.
 */
export type ClaimStep = (claim: NodeClaim, on: ClaimContext) => Promise<NodeClaim | "ended">;

export interface ClaimFacts {
  readonly name: string;
  readonly uid: string;
  readonly machine: string;
  readonly tenant: string;
  readonly ref: TenantRef;
  readonly pool: string;
}

/** What a claim of ours says about itself; undefined when it is somebody else's. */
export function factsOf(claim: NodeClaim): ClaimFacts | undefined {
  const { name, uid, labels } = claim.metadata;
  const tenant = labels?.[LABEL_TENANT];
  const ref = tenant === undefined ? undefined : parseTenant(tenant);
  const machine = machineOf(claim);
  const pool = labels?.[LABEL_NODEPOOL];
  if (!uid || !tenant || !ref || !machine || !pool) return undefined;
  return { name, uid, machine, tenant, ref, pool };
}

export function withStatus(claim: NodeClaim, status: Partial<NonNullable<NodeClaim["status"]>>): NodeClaim {
  return { ...claim, status: { ...claim.status, ...status } };
}

type Verdict = readonly ["True" | "False" | "Unknown", reason: string, message?: string];

/** What nodes and tenants write into their objects ends up in messages: they may be of any length and hold anything. */
const LONGEST_MESSAGE = 1_000;

function plain(message: string): string {
  return message.slice(0, LONGEST_MESSAGE).replace(/\p{Cc}+/gu, " ");
}

/** The claim with a condition set; the very same claim when nothing changed. */
export function say(claim: NodeClaim, on: Pick<ClaimContext, "clock">, type: string, [status, reason, message = ""]: Verdict): NodeClaim {
  const { generation } = claim.metadata;
  const next = { type, status, reason, message: plain(message), ...(generation === undefined ? {} : { observedGeneration: generation }) };
  const conditions = withCondition(claim.status?.conditions, next, on.clock.now());
  return conditions === claim.status?.conditions ? claim : withStatus(claim, { conditions });
}

export function is(claim: NodeClaim, type: string): boolean {
  return isTrue(claim.status?.conditions, type);
}

/** Deletes the claim, and says why where people look. The termination takes it from there. */
export async function giveUp(claim: NodeClaim, on: ClaimContext, reason: string, message: string): Promise<"ended"> {
  on.log.info({ claim: claim.metadata.name, machine: machineOf(claim), reason }, message);
  on.events.record(claim, "Warning", reason, message);
  await on.kube.delete(NODE_CLAIM, claim.metadata.name, claim.metadata.uid === undefined ? {} : { uid: claim.metadata.uid });
  return "ended";
}

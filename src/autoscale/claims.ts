import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { isError, reasonOf } from "../core/errors.ts";
import { ANNOTATION_MACHINE, FINALIZER_CLAIM, LABEL_INSTANCE_TYPE, LABEL_NODEPOOL, LABEL_SITE, LABEL_TENANT } from "../core/names.ts";
import { formatResources } from "../core/quantity.ts";
import { type Machine, NODE_CLAIM, NODE_POOL, type NodeClaim, type NodePool } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import type { PlannedClaim } from "./plan/index.ts";
import { ANNOTATION_ORDER, ANNOTATION_POOL_HASH, type Known, poolHash } from "./world/index.ts";

export interface ClaimMaker {
  readonly kube: Kube;
  readonly log: Logger;
  readonly events: EventRecorder;
  /** The claim was made: it is part of the world before any watch says so. */
  created(claim: NodeClaim): void;
}

/**
 * Makes a planned claim real.
 * @param nth its place in the plan
 * @param notes annotations of its own
 * @returns the claim's name, or nothing when it could not be made now
 */
export async function createClaim(
  planned: PlannedClaim,
  nth: number,
  known: Known,
  options: ClaimMaker,
  notes: Readonly<Record<string, string>> = {},
): Promise<string | undefined> {
  const pool = known.pools.find((one) => one.metadata.name === planned.pool);
  const machine = known.machines.find((one) => one.metadata.name === planned.machine);
  if (!pool || !machine) return undefined;
  const object = claimObject(planned, nth, pool, machine, known.now, notes);
  try {
    const claim = await options.kube.create(NODE_CLAIM, object);
    options.created(claim);
    options.log.info(
      { claim: claim.metadata.name, machine: planned.machine, tenant: planned.tenant, pool: planned.pool },
      "claimed a machine",
    );
    options.events.record(claim, "Normal", "Planned", `machine ${planned.machine} for ${planned.tenant}`);
    return claim.metadata.name;
  } catch (error) {
    // the name is this machine's and this turn's: the claim exists, the watch is about to say so
    if (isError(error, "IRW_KUBE_CONFLICT")) return object.metadata.name;
    options.log.warn({ claim: object.metadata.name, machine: planned.machine, reason: reasonOf(error) }, "a claim could not be made");
    return undefined;
  }
}

/** Keys a NodeClaim may ask for besides its pool's own: the schema refuses others of these domains. */
const CLAIM_KEYS: ReadonlySet<string> = new Set([
  LABEL_NODEPOOL,
  LABEL_INSTANCE_TYPE,
  LABEL_SITE,
  "kubernetes.io/arch",
  "kubernetes.io/os",
  "karpenter.sh/capacity-type",
]);

function claimObject(
  planned: PlannedClaim,
  nth: number,
  pool: NodePool,
  machine: Machine,
  now: Date,
  notes: Readonly<Record<string, string>>,
): NodeClaim {
  const { spec: template, metadata } = pool.spec.template;
  const own = new Set((template.requirements ?? []).map((one) => one.key));
  return {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: {
      name: claimName(pool, machine),
      labels: { ...planned.labels, [LABEL_TENANT]: planned.tenant },
      annotations: {
        ...metadata?.annotations,
        ...notes,
        [ANNOTATION_MACHINE]: planned.machine,
        [ANNOTATION_POOL_HASH]: poolHash(pool),
        [ANNOTATION_ORDER]: `${now.toISOString()}/${String(nth).padStart(4, "0")}`,
      },
      finalizers: [FINALIZER_CLAIM],
      ownerReferences: [
        {
          apiVersion: "karpenter.sh/v1",
          kind: NODE_POOL.kind,
          name: pool.metadata.name,
          uid: pool.metadata.uid ?? "",
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      nodeClassRef: template.nodeClassRef,
      requirements: planned.requirements.filter((one) => CLAIM_KEYS.has(one.key) || own.has(one.key)),
      resources: { requests: formatResources(planned.requests) },
      ...(planned.taints.length > 0 ? { taints: planned.taints } : {}),
      ...(planned.startupTaints.length > 0 ? { startupTaints: planned.startupTaints } : {}),
      ...(template.expireAfter === undefined ? {} : { expireAfter: template.expireAfter }),
      ...(template.terminationGracePeriod === undefined ? {} : { terminationGracePeriod: template.terminationGracePeriod }),
    },
  };
}

/**
 * One name for one turn of one machine in one pool: writing a claim twice, after a lost answer or by a second daemon,
 * meets the first. Every installation and release moves the fence, so names do not come back.
 */
function claimName(pool: NodePool, machine: Machine): string {
  const turn = JSON.stringify([pool.metadata.uid, machine.metadata.uid, machine.status?.operation?.fence ?? 0]);
  const hash = BigInt(`0x${createHash("sha256").update(turn).digest("hex").slice(0, 12)}`);
  return `${pool.metadata.name}-${hash.toString(36).slice(-5).padStart(5, "0")}`;
}

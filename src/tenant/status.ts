import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../core/clock.ts";
import { isTrue, type NewCondition, withCondition } from "../core/conditions.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import type { Kube } from "../kube/index.ts";

export type Status = NonNullable<VirtualCluster["status"]>;
export type ConditionType =
  | "DatastoreReady"
  | "DatastoreFull"
  | "ControlPlaneReady"
  | "AdmissionReady"
  | "CertificatesFresh"
  | "Isolated"
  | "Ready";

export interface StatusChange extends Omit<Status, "conditions" | "observedGeneration"> {
  readonly set?: readonly Omit<NewCondition, "observedGeneration">[];
  /** Fields that say nothing any more. */
  readonly unset?: readonly (keyof Status)[];
}

/** Writes status when it says something new, and gives back the object as it is then. */
export async function report(
  kube: Kube,
  clock: Clock,
  cluster: VirtualCluster,
  { set = [], unset = [], ...fields }: StatusChange,
): Promise<VirtualCluster> {
  const observedGeneration = cluster.metadata.generation ?? 0;
  let conditions = cluster.status?.conditions;
  for (const one of set) conditions = withCondition(conditions, { ...one, observedGeneration }, clock.now());
  const before = Object.fromEntries(Object.entries(cluster.status ?? {}).filter(([field]) => !unset.some((one) => one === field)));
  const status: Status = { ...before, ...fields, observedGeneration, ...(conditions ? { conditions } : {}) };
  if (isDeepStrictEqual(status, cluster.status)) return cluster;
  return kube.replaceStatus(VIRTUAL_CLUSTER, { ...cluster, status });
}

/** A condition that is not met, from what was thrown: its code is the reason. */
export function unmet(type: ConditionType, error: unknown): Omit<NewCondition, "observedGeneration"> {
  const reason = error instanceof IronwrightError ? reasonOfCode(error.code) : "InternalError";
  const message = error instanceof IronwrightError ? `${error.code}: ${error.message}; ${error.next}` : reasonOf(error);
  return { type, status: "False", reason, message: message.slice(0, 4000) };
}

export function met(type: ConditionType, reason: string, message: string): Omit<NewCondition, "observedGeneration"> {
  return { type, status: "True", reason, message };
}

export function pending(type: ConditionType, reason: string, message: string): Omit<NewCondition, "observedGeneration"> {
  return { type, status: "False", reason, message };
}

export function isReady(cluster: VirtualCluster): boolean {
  return isTrue(cluster.status?.conditions, "Ready");
}

/** `IRW_CHILD_NOT_READY` as metav1.Condition wants its reasons: `ChildNotReady`. */
function reasonOfCode(code: string): string {
  const words = code.replace(/^IRW_/, "").toLowerCase().split("_");
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

export {
  ANNOTATION_ORDER,
  ANNOTATION_REPLACEMENTS,
  ANNOTATION_REPLACES,
  type Known,
  type KnownTenant,
  machineOf,
  replacements,
  surroundings,
  worldOf,
} from "./build.ts";
export { ANNOTATION_POOL_HASH, type Drift, driftOf, poolHash } from "./disruption.ts";
export { ANNOTATION_CLAIM_FAILED, capacityOf, nodeLabelsOf } from "./machines.ts";
export { isFinished, isMirror, isOfDaemonSet, isUnschedulable, isWorkload } from "./pods.ts";
export { ANNOTATION_PLAIN_PODS, judgePool, type PoolSurroundings, type PoolVerdict } from "./pools.ts";
export { storageOf } from "./volumes.ts";

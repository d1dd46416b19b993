export { type Action, LEFT_OVER, type Placement, type Plan, type PlannedClaim, type PoolRefusal, type Refusal } from "./answer.ts";
export { allowedBy, budgetProblem, DEFAULT_BUDGETS } from "./budgets.ts";
export { type Disruption, type DisruptionReason, type Disruptions, disruptions, type Held } from "./disrupt.ts";
export { order } from "./order.ts";
export { plan } from "./plan.ts";
export { comingNode } from "./planned-claim.ts";
export { isEphemeral, sameTaint, tolerates } from "./taints.ts";
export type {
  Budget,
  ClassWorld,
  Daemon,
  Gang,
  GangTopology,
  HostPort,
  MachineSupply,
  NodeSupply,
  PendingPod,
  PodNeeds,
  PodTerm,
  Policy,
  PoolDisruption,
  PoolWorld,
  Project,
  Quota,
  RunningPod,
  Spread,
  TenantWorld,
  Toleration,
  WarmFloor,
  WeightedPodTerm,
  Window,
  World,
} from "./world.ts";

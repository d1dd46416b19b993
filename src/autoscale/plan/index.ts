export { allowedBy, budgetProblem, DEFAULT_BUDGETS } from "./budgets.ts";
export { type Disruption, type DisruptionReason, type Disruptions, disruptions, type Held } from "./disrupt.ts";
export { order } from "./order.ts";
export { plan } from "./plan.ts";
export { isEphemeral, sameTaint, tolerates } from "./taints.ts";
export type {
  Action,
  Budget,
  ClassWorld,
  Daemon,
  Gang,
  GangTopology,
  HostPort,
  MachineSupply,
  NodeSupply,
  PendingPod,
  Placement,
  Plan,
  PlannedClaim,
  PodNeeds,
  PodTerm,
  Policy,
  PoolDisruption,
  PoolRefusal,
  PoolWorld,
  Quota,
  Refusal,
  RunningPod,
  Spread,
  TenantWorld,
  Toleration,
  WarmFloor,
  WeightedPodTerm,
  Window,
  World,
} from "./world.ts";

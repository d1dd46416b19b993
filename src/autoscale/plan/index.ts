export { order } from "./kinds.ts";
export { plan } from "./plan.ts";
export { isEphemeral, sameTaint, tolerates } from "./taints.ts";
export type {
  ClassWorld,
  Daemon,
  HostPort,
  MachineSupply,
  NodeSupply,
  PendingPod,
  Placement,
  Plan,
  PlannedClaim,
  PodNeeds,
  PoolRefusal,
  PoolWorld,
  Refusal,
  Repelling,
  TenantWorld,
  Toleration,
  World,
} from "./world.ts";

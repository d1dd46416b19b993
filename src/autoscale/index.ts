export { type Autoscaler, type AutoscalerOptions, autoscaler } from "./autoscaler.ts";
export { type Plan, plan, type Refusal, type World } from "./plan/index.ts";
export type { PodExplanation } from "./provision.ts";
export type { TenantApis } from "./tenants.ts";

import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { NodeClaim } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import type { TenantView } from "./demand.ts";
import type { Known } from "./world/build.ts";

/** What whoever plans, and carries plans out, stands on. */
export interface PlanningOptions {
  readonly kube: Kube;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  known(): Known;
  view(tenant: string): TenantView | undefined;
  /** The claim was made: it is part of the world before any watch says so. */
  created(claim: NodeClaim): void;
}

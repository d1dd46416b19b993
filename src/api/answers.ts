import type { PodExplanation } from "../autoscale/index.ts";
import type { Attempt, BootEvent, LeaseView, RefusalView, StepHistory } from "../boot/index.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { TenantUsage } from "../tenant/index.ts";

/** `GET /v1/leases?from=0`: a part of them, so that answering holds up no server that boots meanwhile. */
export interface LeasesAnswer {
  readonly items: readonly LeaseView[];
  /** Where the next part begins; absent in the last. */
  readonly next?: number;
}

/** `GET /v1/boot/refusals` */
export interface RefusalsAnswer {
  readonly items: readonly RefusalView[];
}

/** `GET /v1/machines/:name/timeline` */
export interface TimelineAnswer {
  readonly machine: string;
  /** How far its last boot came, and why no further. */
  readonly seen: string;
  readonly model?: string;
  /** Newest last. */
  readonly attempts: readonly Attempt[];
  /** What each step usually takes on machines of its model; empty without a model. */
  readonly history: readonly StepHistory[];
  /** Of this run of the daemon. */
  readonly events: readonly BootEvent[];
}

/** `GET /v1/explain/pod?tenant=NAMESPACE.NAME&pod=NAMESPACE/NAME`; null when the last plan knows nothing of the pod. */
export interface PodAnswer {
  readonly tenant: string;
  readonly pod: string;
  readonly explanation: PodExplanation | null;
}

/** `GET /v1/top/virtualclusters`: the largest first. */
export interface TopAnswer {
  readonly at: string;
  readonly items: readonly TenantUsage[];
}

/** The body of every answer that is none. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly next: string;
}

export function problemOf(error: unknown): Problem {
  if (error instanceof IronwrightError) return { code: error.code, message: error.message, next: error.next };
  return { code: "IRW_INTERNAL", message: reasonOf(error), next: "the daemon's log says more" };
}

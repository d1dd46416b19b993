import type { Clock } from "../core/clock.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { EventRecorder, Kube } from "../kube/index.ts";
import type { Admissions } from "./admissions.ts";
import type { Entrance } from "./entrance.ts";
import type { KeyReport } from "./keys.ts";
import { type ControlPlane, idOf, type Runtime } from "./runtime.ts";
import { calledBack, type Judgement, type Sleeper, turned } from "./sleeper.ts";
import { met, report } from "./status.ts";

export interface RestingOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly runtime: Runtime;
  readonly way: Entrance;
  readonly admissions: Admissions;
  readonly sleeping: Sleeper;
  readonly clock: Clock;
  readonly events: EventRecorder;
}

/** A control plane whose datastore lets it in, and how its keys are. */
export interface AdmittedPlane {
  readonly plane: ControlPlane;
  readonly report: KeyReport;
}

/** Who is to sleep, and what the controller does of it. */
export interface RestingTenant {
  readonly cluster: VirtualCluster;
  readonly judged: Judgement;
  admitted(): Promise<AdmittedPlane>;
  /** Nobody holds its control plane any more. */
  letGo(): Promise<void>;
  /** Says in its status why it could not be put down. */
  puttingDown<T>(work: () => Promise<T>): Promise<T>;
}

/** Machines are given back meanwhile, which takes minutes on metal. */
const GIVING_BACK_MS = 1_000;

/**
 * Puts tenants to sleep, and keeps them so: machines first, then callers, then processes. Certificates of a sleeper are renewed all the
 * same. It may be tried again after any step.
 */
export function resting({ kube, runtime, way, admissions, sleeping, clock, events }: RestingOptions) {
  return async function rest(tenant: RestingTenant, signal: AbortSignal): Promise<{ readonly afterMs: number }> {
    const { judged } = tenant;
    const { decision, status } = judged;
    const id = idOf(tenant.cluster);
    const cluster = await noteOrder(tenant, signal);
    const machines = judged.state === "awake" ? await sleeping.giveBack(cluster, judged.policy) : [];
    if (machines.length > 0) {
      const why = `${decision.why}; first it gives back ${machines.join(", ")}`;
      await report(kube, clock, cluster, { sleep: { ...status, why: why.slice(0, 1024) } });
      return { afterMs: GIVING_BACK_MS };
    }
    await tenant.letGo();
    const { plane, report: kept } = await tenant.admitted();
    await runtime.refresh(plane);
    await way.rest(plane, await admissions.read(plane.ref), signal);
    const { state, why } = judged.state === decision.state ? decision : await tenant.puttingDown(() => putDown(id, decision));
    // keys that were changed just now, read by what starts alone: it starts with them when it is woken
    if (judged.state === "awake") await runtime.refresh(plane);
    // who called in between was told that it is awake
    if ((await way.traffic(id)).some((one) => one.woken)) {
      await runtime.wake(id);
      // that call is answered, and is none of those after the next order; nodes come in once today's list is in force
      await way.prepare(plane, await admissions.read(plane.ref), signal);
      // as a sleeper that was woken, or the next look would put it down again
      await report(kube, clock, cluster, { sleep: calledBack(status, clock.now()) });
      return { afterMs: 0 };
    }
    if (judged.state !== state) events.record(cluster, "Normal", state === "stopped" ? "Stopped" : "Hibernated", why);
    await report(kube, clock, cluster, {
      phase: "Ready",
      pki: kept.status,
      sleep: turned(status, state, clock.now(), why),
      set: [kept.condition, met("ControlPlaneReady", "Asleep", `${state}: ${why}`), met("Ready", "Asleep", `${state}; a call wakes it`)],
    });
    return { afterMs: kept.afterMs };
  };

  /** An order that is seen for the first time: who called before it is none of those who call after it, however often this is tried. */
  async function noteOrder({ cluster, judged, admitted }: RestingTenant, signal: AbortSignal): Promise<VirtualCluster> {
    const { state, status } = judged;
    if (status.orderedAt === undefined || cluster.status?.sleep?.orderedAt !== undefined) return cluster;
    if (state === "awake") {
      const { plane } = await admitted();
      await way.prepare(plane, await admissions.read(plane.ref), signal);
    }
    return report(kube, clock, cluster, { sleep: status });
  }

  async function putDown(id: string, { state, why }: Judgement["decision"]): Promise<Pick<Judgement["decision"], "state" | "why">> {
    const slept = await (state === "stopped" ? runtime.stop(id) : runtime.hibernate(id));
    const became = slept.state === "frozen" ? "hibernated" : "stopped";
    return { state: became, why: slept.reason === undefined ? why : `${why}; stopped, not hibernated: ${slept.reason}` };
  }
}

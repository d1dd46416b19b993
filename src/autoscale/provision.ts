import { reasonOf } from "../core/errors.ts";
import { createClaim } from "./claims.ts";
import { LEFT_OVER, type Plan, plan, type Refusal } from "./plan/index.ts";
import type { PlanningOptions } from "./planning.ts";
import { worldOf } from "./world/index.ts";

/** A batch of pods ends when none came for so long … */
const IDLE_MS = 1_000;
/** … or after so long in all. */
const MOST_MS = 10_000;
const LOOK_AGAIN_MS = 10_000;
/** Events a refusal or a placement writes at most: a thousand equal pods are one piece of news. */
const MOST_EVENTS = 20;

export interface Provisioner {
  start(): void;
  /** `pod`: more of the same may follow, the batch waits for it. */
  nudge(what: "pod" | "other"): void;
  stop(): Promise<void>;
  /** What the last plan says of a pod. */
  explain(tenant: string, pod: string): PodExplanation | undefined;
}

export interface PodExplanation {
  readonly at: Date;
  /** The node it is expected on; `planned` when it was claimed for it just then. */
  readonly placed?: { readonly node: string; readonly planned: boolean };
  readonly refusal?: Refusal;
}

/** Turns demand into claims: waits for a batch of pods to be complete, plans, writes the claims. */
export function provisioner(options: PlanningOptions): Provisioner {
  const { clock, log } = options;
  const ending = new AbortController();
  let wake = new AbortController();
  let pods = 0;
  let due = true;
  let last: { readonly plan: Plan; readonly at: Date } | undefined;
  const told = new Map<string, string>();
  let running: Promise<void> | undefined;

  async function loop(): Promise<void> {
    while (!ending.signal.aborted) {
      if (!due) await clock.sleep(LOOK_AGAIN_MS, AbortSignal.any([ending.signal, wake.signal])).catch(() => {});
      if (ending.signal.aborted) return;
      await batch();
      due = false;
      wake = new AbortController();
      await round().catch((error: unknown) => {
        log.warn({ reason: reasonOf(error) }, "provisioning failed; it is tried again");
      });
    }
  }

  async function batch(): Promise<void> {
    const opened = clock.now().getTime();
    let seen: number;
    do {
      seen = pods;
      await clock.sleep(IDLE_MS, ending.signal).catch(() => {});
    } while (seen !== pods && clock.now().getTime() - opened < MOST_MS && !ending.signal.aborted);
  }

  async function round(): Promise<void> {
    const known = options.known();
    const decided = plan(worldOf(known));
    last = { plan: decided, at: known.now };
    const names = new Map<string, string>();
    for (const [nth, claim] of decided.claims.entries()) {
      if (ending.signal.aborted) return;
      // its machine is still in other hands: the next plan says so again, until it is free
      if (claim.awaiting) continue;
      const made = await createClaim(claim, nth, known, options);
      if (made) names.set(`${claim.tenant}/${claim.machine}`, made);
    }
    tell(decided, names);
  }

  function tell(decided: Plan, names: ReadonlyMap<string, string>): void {
    const waiting = new Set<string>();
    const say = (tenant: string, keys: readonly string[], type: "Normal" | "Warning", reason: string, message: string) => {
      for (const key of keys) waiting.add(`${tenant}/${key}`);
      // of a pool of a fixed size there are no pods to tell
      const first = `${tenant}/${keys[0] ?? message}`;
      if (told.get(first) !== message) log.info({ tenant, pods: keys.length, first: keys[0], reason }, message);
      if (keys.length === 0) {
        waiting.add(first);
        told.set(first, message);
      }
      for (const key of keys.slice(0, MOST_EVENTS)) {
        const pod = options.view(tenant)?.pod(key);
        if (!pod || pod.spec.nodeName || told.get(`${tenant}/${key}`) === message) continue;
        told.set(`${tenant}/${key}`, message);
        options.view(tenant)?.events.record(pod, type, reason, message);
      }
    };
    for (const { tenant, node, pods: keys, planned } of decided.placements) {
      if (planned && !names.has(`${tenant}/${node}`)) continue;
      say(tenant, keys, "Normal", "Nominated", `Pod should schedule on machine ${node}`);
    }
    for (const { tenant, pods: keys, reason } of decided.refusals) {
      say(tenant, keys, "Warning", "FailedScheduling", `No machine for this pod: ${reason}`);
    }
    for (const { tenant, pods: keys } of decided.rest ?? []) {
      say(tenant, keys, "Warning", "FailedScheduling", `No machine for this pod yet: ${LEFT_OVER}`);
    }
    for (const key of told.keys()) if (!waiting.has(key)) told.delete(key);
  }

  return {
    start() {
      running ??= loop();
    },
    nudge(what) {
      if (what === "pod") pods += 1;
      due = true;
      wake.abort();
    },
    async stop() {
      ending.abort(new Error("the autoscaler is stopping"));
      await running;
    },
    explain: (tenant, pod) => last && explanation(last, tenant, pod),
  };
}

function explanation({ plan: decided, at }: { plan: Plan; at: Date }, tenant: string, pod: string): PodExplanation | undefined {
  const placement = decided.placements.find((one) => one.tenant === tenant && one.pods.includes(pod));
  if (placement) return { at, placed: { node: placement.node, planned: placement.planned } };
  const rest = (decided.rest ?? []).map((one): Refusal => ({ ...one, reason: LEFT_OVER, pools: [] }));
  const refusal = [...decided.refusals, ...rest].find((one) => one.tenant === tenant && one.pods.includes(pod));
  return refusal && { at, refusal };
}

import { join } from "node:path";
import { type Clock, moment, timestamp } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import { LABEL_TENANT, refOf, tenantText } from "../core/names.ts";
import { NODE_CLAIM, type VirtualCluster } from "../core/resources.ts";
import type { SleepState, SleepStatus } from "../core/virtual-clusters.ts";
import type { Kube } from "../kube/index.ts";
import { logOf } from "./process.ts";
import { idOf, type Runtime } from "./runtime.ts";
import { callLogs } from "./sleep/call-log.ts";
import { nextSleep, type SleepDecision, type SleepFacts } from "./sleep/decide.ts";
import { type Work, workOf } from "./sleep/facts.ts";
import type { SleepPolicy } from "./sleep/policy.ts";

export interface SleeperOptions {
  /** The host control plane. */
  readonly kube: Kube;
  readonly runtime: Runtime;
  readonly dataDir: string;
  readonly clock: Clock;
}

/** What a control plane should be now, what it is, and what its status says of both. */
export interface Judgement {
  readonly decision: SleepDecision;
  readonly state: SleepState;
  readonly policy: SleepPolicy | undefined;
  readonly status: SleepStatus;
}

/** Finds out how a tenant is doing, and what follows for its sleep. */
export interface Sleeper {
  /**
   * @param tenant its own control plane, when it is awake and known
   * @param neededUntil it is awake until then, whatever its policy says: a machine of its is being given back
   */
  judge(cluster: VirtualCluster, policy: SleepPolicy | undefined, tenant: Kube | undefined, neededUntil?: number): Promise<Judgement>;
  /** Asks for the tenant's machines back, as its policy says, and names the claims that still hold one. */
  giveBack(cluster: VirtualCluster, policy: SleepPolicy | undefined): Promise<readonly string[]>;
  forget(id: string): void;
}

export function sleeper({ kube, runtime, dataDir, clock }: SleeperOptions): Sleeper {
  const logs = callLogs((id) => logOf(join(dataDir, "tenants", id), "kube-apiserver"));

  async function factsOf(cluster: VirtualCluster, policy: SleepPolicy, tenant: Kube | undefined, now: number) {
    const id = idOf(cluster);
    const before = cluster.status?.sleep;
    const state = await stateOf(id);
    const isOrdered = policy.order === "Asleep";
    const orderedAt = isOrdered ? Math.min(before?.orderedAt ? Date.parse(before.orderedAt) : now, now) : undefined;
    // who is awake when the order is first seen woke before it: by a clock that was put back meanwhile, or seen to be awake only now, too
    const wokeBefore = isOrdered && before?.orderedAt === undefined && state === "awake";
    const since = Math.min(sinceOf(cluster, state, now), wokeBefore ? now - 1 : now);
    // only a call wakes what was not woken by us: ours write the status first
    const called = before !== undefined && before.state !== "awake" && state === "awake" ? now : undefined;
    const seen = latest(called, await logs.lastCall(id), before?.lastCallAt);
    const lastCall = seen === undefined ? undefined : Math.min(seen, now);
    const work = state === "awake" ? await workNow(tenant, now, before) : keptWork(before);
    const facts: SleepFacts = {
      state,
      since,
      ...(lastCall === undefined ? {} : { lastCall }),
      ...(orderedAt === undefined ? {} : { orderedAt }),
      ...(work.nextCronJob ? { cronJobDue: work.nextCronJob.at } : {}),
      ...(work.busy === undefined ? {} : { busy: work.busy }),
    };
    return { facts, work };
  }

  async function stateOf(id: string): Promise<SleepState> {
    const state = (await runtime.cell(id))?.state;
    return state === "frozen" ? "hibernated" : state === "stopped" ? "stopped" : "awake";
  }

  return {
    async judge(cluster, asked, tenant, neededUntil = 0) {
      const now = clock.now().getTime();
      const policy = asked && neededUntil > now ? { ...asked, awakeUntil: Math.max(asked.awakeUntil ?? 0, neededUntil) } : asked;
      if (!policy) {
        const state = cluster.status?.sleep ? await stateOf(idOf(cluster)) : "awake";
        const decision = nextSleep(now, undefined, { state, since: now });
        return { decision, state, policy, status: statusOf(cluster, { state, since: sinceOf(cluster, state, now) }, decision, {}, now) };
      }
      const { facts, work } = await factsOf(cluster, policy, tenant, now);
      const decision = nextSleep(now, policy, facts);
      return { decision, state: facts.state, policy, status: statusOf(cluster, facts, decision, work, now) };
    },

    async giveBack(cluster, policy) {
      if (policy?.nodes === "keep") return [];
      const labelSelector = `${LABEL_TENANT}=${tenantText(refOf(cluster))}`;
      const { items } = await kube.list(NODE_CLAIM, { labelSelector });
      for (const claim of items) if (!claim.metadata.deletionTimestamp) await kube.delete(NODE_CLAIM, claim.metadata.name);
      return items.map((claim) => `NodeClaim ${claim.metadata.name}`);
    },

    forget: (id) => logs.forget(id),
  };
}

function sinceOf({ status }: VirtualCluster, state: SleepState, now: number): number {
  // of a clock that was ahead for a while, nothing is left once it is right again
  return status?.sleep?.state === state ? Math.min(Date.parse(status.sleep.since), now) : now;
}

/** Nobody falls asleep over work that could not be looked at: after a start of the daemon, or while it does not answer. */
async function workNow(tenant: Kube | undefined, now: number, before: SleepStatus | undefined): Promise<Work> {
  if (!tenant) return { ...keptWork(before), busy: "it was not asked yet what it does" };
  try {
    return await workOf(tenant, now);
  } catch (error) {
    return { ...keptWork(before), busy: `it does not say what it does: ${reasonOf(error).slice(0, 200)}` };
  }
}

/** A sleeper's CronJobs do not change. */
function keptWork(before: SleepStatus | undefined): Work {
  const next = before?.nextCronJob;
  return next ? { nextCronJob: { name: next.name, at: Date.parse(next.at) } } : {};
}

function statusOf(
  { status }: VirtualCluster,
  { state, since, lastCall, orderedAt }: Pick<SleepFacts, "state" | "since" | "lastCall" | "orderedAt">,
  { why, lookAgainAt }: SleepDecision,
  { nextCronJob }: Work,
  now: number,
): SleepStatus {
  const before = status?.sleep;
  // what was awake until now and is no longer
  const ended = before?.state === "awake" && state !== "awake" ? secondsSince(before.since, now) : 0;
  const awakeSeconds = Math.round((before?.awakeSeconds ?? 0) + ended);
  return {
    state,
    since: moment(new Date(since)),
    awakeSeconds,
    why: why.slice(0, 1024),
    ...(lastCall === undefined ? {} : { lastCallAt: timestamp(new Date(lastCall)) }),
    ...(orderedAt === undefined ? {} : { orderedAt: moment(new Date(orderedAt)) }),
    ...(lookAgainAt === undefined ? {} : { lookAgainAt: timestamp(new Date(lookAgainAt)) }),
    ...(nextCronJob ? { nextCronJob: { name: nextCronJob.name, at: timestamp(new Date(nextCronJob.at)) } } : {}),
  };
}

/** What a status says once its control plane has come into another state. */
export function turned(status: SleepStatus, state: SleepState, now: Date, why: string): SleepStatus {
  if (status.state === state) return { ...status, why: why.slice(0, 1024) };
  const awake = status.state === "awake" ? secondsSince(status.since, now.getTime()) : 0;
  return {
    ...status,
    state,
    since: moment(now),
    awakeSeconds: Math.round((status.awakeSeconds ?? 0) + awake),
    why: why.slice(0, 1024),
  };
}

/** What a status says of who was called while it fell asleep. */
export function calledBack(status: SleepStatus, now: Date): SleepStatus {
  const asleep = { ...status, state: "hibernated" as const, awakeSeconds: turned(status, "hibernated", now, "").awakeSeconds ?? 0 };
  const at = timestamp(now);
  return { ...turned(asleep, "awake", now, "it was called while it fell asleep"), lastCallAt: at };
}

/** None by a clock that was put back. */
function secondsSince(moment: string, now: number): number {
  return Math.max(0, (now - Date.parse(moment)) / 1000);
}

function latest(...moments: readonly (number | string | undefined)[]): number | undefined {
  const known = moments.flatMap((one) => (one === undefined ? [] : [typeof one === "number" ? one : Date.parse(one)]));
  return known.length === 0 ? undefined : Math.max(...known);
}

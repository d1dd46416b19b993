import { timestamp } from "../../core/clock.ts";
import type { SleepState } from "../../core/virtual-clusters.ts";
import type { SleepPolicy } from "./policy.ts";

/** What a decision rests on besides the policy. Times are milliseconds since 1970. */
export interface SleepFacts {
  readonly state: SleepState;
  /** When it came into this state. */
  readonly since: number;
  /** The last call of people or pods; absent: none was seen. Open watches are no calls. */
  readonly lastCall?: number;
  /** When the order `Asleep` was first seen; absent: just now. */
  readonly orderedAt?: number;
  /** When the next CronJob is due; one that should have begun and did not is in the past. */
  readonly cronJobDue?: number;
  /** What of its own it still does, for people: `2 Jobs run`. Nothing falls asleep over it for want of calls alone. */
  readonly busy?: string;
}

export interface SleepDecision {
  readonly state: SleepState;
  /** For people. */
  readonly why: string;
  /** The latest moment to ask again, whatever happens; absent: only news changes this. */
  readonly lookAgainAt?: number;
}

/** A sleeper is awake so long before its CronJob is due. */
export const CRON_LEAD_MS = 30_000;
/** Whoever woke it out of hours, or against an order to sleep, has so long between two calls. */
const GRACE_MS = 10 * 60_000;
/** A CronJob that is due and does not begin, for whatever reason of its own, holds nobody awake for longer. */
const CRON_PATIENCE_MS = 5 * 60_000;
/** No schedule is looked at further back: a year and its leap day, for those of once a year. */
const LOOK_BACK_MS = 367 * 86_400_000;

/**
 * What a tenant's control plane should be now. In this order: paused, awake until, ordered awake, ordered asleep, a CronJob that
 * is due, by schedule, by idleness. Who calls wakes a sleeper without asking here (the front door does); this says when it goes
 * to sleep again.
 */
export function nextSleep(now: number, policy: SleepPolicy | undefined, facts: SleepFacts): SleepDecision {
  if (!policy) return awake("it has no policy for sleep");
  if (policy.paused) return { state: facts.state, why: `sleep is paused: it stays ${facts.state}` };
  const { awakeUntil = 0 } = policy;
  if (awakeUntil > now) return awake(`somebody wants it awake until ${text(awakeUntil)}`, awakeUntil);
  if (policy.order === "Awake") return awake("somebody wants it awake");
  if (policy.order === "Asleep") return ordered(now, policy, facts);
  const cron = cronJob(now, facts);
  if (cron) return cron;
  const { night, morning, next } = hours(now, policy);
  // the CronJob to come is looked at in any case
  const wakes = [next, cronWake(now, facts)];
  if (night !== undefined) {
    if (facts.state !== "awake") return asleep(now, policy, facts, `by its schedule, since ${text(night)}`, wakes);
    if (facts.since < night) return asleep(now, policy, facts, `by its schedule: ${text(night)} has come`, wakes);
    return idle(now, policy, facts, policy.afterIdleMs ?? GRACE_MS, wakes);
  }
  if (facts.state === "awake")
    return policy.afterIdleMs === undefined
      ? awake("nothing says that it should sleep now", ...wakes)
      : idle(now, policy, facts, policy.afterIdleMs, wakes);
  if (morning !== undefined && morning > facts.since) return awake(`by its schedule: ${text(morning)} has come`, ...wakes);
  return asleep(now, policy, facts, "nobody has called since it fell asleep", wakes);
}

/** An order to sleep: at once for who was awake when it came, and after a while without calls for who was woken since. */
function ordered(now: number, policy: SleepPolicy, facts: SleepFacts): SleepDecision {
  if (facts.state !== "awake" || facts.since < (facts.orderedAt ?? now)) return asleep(now, policy, facts, "somebody wants it asleep", []);
  return idle(now, policy, facts, Math.min(policy.afterIdleMs ?? GRACE_MS, GRACE_MS), []);
}

function cronWake(now: number, { cronJobDue }: SleepFacts): number | undefined {
  return cronJobDue === undefined || cronJobDue - CRON_LEAD_MS <= now ? undefined : cronJobDue - CRON_LEAD_MS;
}

/** Awake for a CronJob, from a little before it is due until it has begun: from then on its Jobs keep it busy. */
function cronJob(now: number, { cronJobDue, state, since }: SleepFacts): SleepDecision | undefined {
  if (cronJobDue === undefined || cronJobDue - CRON_LEAD_MS > now) return undefined;
  const why = `a CronJob is due at ${text(cronJobDue)}`;
  // who fell asleep over it gave it its time before
  if (state !== "awake") return cronJobDue > since ? awake(why, now + CRON_PATIENCE_MS) : undefined;
  const until = Math.max(cronJobDue, since) + CRON_PATIENCE_MS;
  return until > now ? awake(why, until) : undefined;
}

interface Hours {
  /** When the sleep that is on now began, by the schedule. */
  readonly night?: number;
  /** When the last one ended. */
  readonly morning?: number;
  /** When the schedule next says something. */
  readonly next?: number;
}

/** Of several rows the one that spoke last counts; of a sleep and a wake at one moment the wake. */
function hours(now: number, { schedule }: SleepPolicy): Hours {
  let night: number | undefined;
  let morning: number | undefined;
  let next: number | undefined;
  for (const { sleep, wake } of schedule) {
    night = latest(night, sleep.last(now, now - LOOK_BACK_MS));
    morning = latest(morning, wake.last(now, now - LOOK_BACK_MS));
    next = earliest([next, sleep.next(now), wake.next(now)]);
  }
  const sleeping = night !== undefined && (morning === undefined || night > morning);
  return {
    ...(sleeping && night !== undefined ? { night } : {}),
    ...(!sleeping && morning !== undefined ? { morning } : {}),
    ...(next === undefined ? {} : { next }),
  };
}

/** Awake until nobody has called for so long. */
function idle(
  now: number,
  policy: SleepPolicy,
  facts: SleepFacts,
  afterMs: number,
  others: readonly (number | undefined)[],
): SleepDecision {
  // a call that the future is said to have had is no reason to stay awake until then
  const lastCall = Math.min(facts.lastCall ?? 0, now);
  const from = Math.max(lastCall, Math.min(facts.since, now));
  const until = from + afterMs;
  if (facts.busy !== undefined) return awake(facts.busy, ...others);
  if (until > now)
    return awake(lastCall >= facts.since ? `it was called at ${text(lastCall)}` : `it woke at ${text(facts.since)}`, until, ...others);
  return asleep(now, policy, facts, `nobody has called since ${text(from)}`, others);
}

function asleep(now: number, policy: SleepPolicy, facts: SleepFacts, why: string, others: readonly (number | undefined)[]): SleepDecision {
  if (facts.state === "stopped") return decided("stopped", why, others);
  if (facts.state === "awake") {
    return decided("hibernated", why, [...others, policy.stopAfterMs === undefined ? undefined : now + policy.stopAfterMs]);
  }
  const stopAt = policy.stopAfterMs === undefined ? undefined : facts.since + policy.stopAfterMs;
  if (stopAt !== undefined && stopAt <= now) return decided("stopped", `${why}; in hibernation since ${text(facts.since)}`, others);
  return decided("hibernated", why, [...others, stopAt]);
}

function awake(why: string, ...others: readonly (number | undefined)[]): SleepDecision {
  return decided("awake", why, others);
}

function decided(state: SleepState, why: string, moments: readonly (number | undefined)[]): SleepDecision {
  const lookAgainAt = earliest(moments);
  return { state, why, ...(lookAgainAt === undefined ? {} : { lookAgainAt }) };
}

function latest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other > one) ? other : one;
}

function earliest(moments: readonly (number | undefined)[]): number | undefined {
  const known = moments.filter((one) => one !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function text(at: number): string {
  return timestamp(new Date(at));
}

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SleepSpec } from "../../core/virtual-clusters.ts";
import { CRON_LEAD_MS, nextSleep, type SleepFacts } from "./decide.ts";
import { sleepPolicy } from "./policy.ts";

const NOON = "2026-03-04T12:00:00Z";
const at = (text: string) => Date.parse(text.includes("T") ? text : `2026-03-04T${text}:00Z`);

function facts(more: Partial<SleepFacts> = {}): SleepFacts {
  return { state: "awake", since: at("08:00"), ...more };
}

function decide(spec: SleepSpec | undefined, more: Partial<SleepFacts> = {}, now = NOON) {
  const { state, why, lookAgainAt } = nextSleep(at(now), spec && sleepPolicy(spec), facts(more));
  const again = lookAgainAt === undefined ? undefined : new Date(lookAgainAt).toISOString().slice(11, 16);
  return { state, why, again };
}

test("without a policy nobody sleeps; paused, it stays as it is", () => {
  expect(decide(undefined)).toMatchObject({ state: "awake", again: undefined });
  expect(decide({})).toMatchObject({ state: "awake" });
  expect(decide({ paused: true, afterIdle: "1m" })).toMatchObject({ state: "awake" });
  expect(decide({ paused: true, state: "Awake" }, { state: "stopped" })).toMatchObject({ state: "stopped" });
});

describe("idleness", () => {
  test.each<[string, Partial<SleepFacts>, string, string | undefined]>([
    ["a call of 20 minutes ago", { lastCall: at("11:40") }, "awake", "12:10"],
    ["a call of 30 minutes ago", { lastCall: at("11:30") }, "hibernated", "14:00"],
    ["no call at all", {}, "hibernated", "14:00"],
    ["awake since a moment ago", { since: at("11:59") }, "awake", "12:29"],
    ["Jobs that run", { busy: "2 Jobs run" }, "awake", undefined],
    ["asleep already", { state: "hibernated", since: at("11:00") }, "hibernated", "13:00"],
    ["asleep for long", { state: "hibernated", since: at("10:00") }, "stopped", undefined],
    ["stopped", { state: "stopped", since: at("10:00") }, "stopped", undefined],
    ["a call in the future", { lastCall: at("2027-01-01T00:00:00Z") }, "awake", "12:30"],
  ])("%s: %j", (_, more, state, again) => {
    expect(decide({ afterIdle: "30m", stopAfter: "2h" }, more)).toMatchObject({ state, again });
  });

  test("it says since when nobody has called", () => {
    expect(decide({ afterIdle: "30m" }, { lastCall: at("11:00") }).why).toBe("nobody has called since 2026-03-04T11:00:00Z");
  });
});

describe("by schedule", () => {
  const NIGHTS: SleepSpec = { schedule: [{ sleep: "0 20 * * 1-5", wake: "0 7 * * 1-5" }], timeZone: "Europe/Berlin" };

  test.each<[string, Partial<SleepFacts>, string, string | undefined]>([
    ["2026-03-04T18:59:00Z", {}, "awake", "19:00"],
    ["2026-03-04T19:00:00Z", { lastCall: at("18:59") }, "hibernated", "06:00"],
    ["2026-03-05T05:59:00Z", { state: "hibernated", since: at("19:00") }, "hibernated", "06:00"],
    ["2026-03-05T06:00:00Z", { state: "hibernated", since: at("19:00") }, "awake", "19:00"],
    // the daemon was away in the morning
    ["2026-03-05T09:00:00Z", { state: "stopped", since: at("19:00") }, "awake", "19:00"],
    // a weekend: from Friday evening to Monday morning
    ["2026-03-07T12:00:00Z", { since: at("2026-03-06T09:00:00Z") }, "hibernated", "06:00"],
  ])("at %s", (now, more, state, again) => {
    expect(decide(NIGHTS, more, now)).toMatchObject({ state, again });
  });

  test("who is woken by a call at night sleeps again when nobody calls for a while", () => {
    const woken = { state: "awake", since: at("22:00"), lastCall: at("22:05") } as const;
    expect(decide(NIGHTS, woken, "2026-03-04T22:10:00Z")).toMatchObject({ state: "awake", again: "22:15" });
    expect(decide(NIGHTS, woken, "2026-03-04T22:15:00Z")).toMatchObject({ state: "hibernated" });
    expect(decide({ ...NIGHTS, afterIdle: "1h" }, woken, "2026-03-04T22:15:00Z")).toMatchObject({ state: "awake", again: "23:05" });
  });

  test("idleness counts by day as well; who sleeps by idleness stays asleep when the morning was before", () => {
    const both = { ...NIGHTS, afterIdle: "30m" };
    expect(decide(both, { lastCall: at("10:00") })).toMatchObject({ state: "hibernated", again: "19:00" });
    expect(decide(both, { state: "hibernated", since: at("10:30") })).toMatchObject({ state: "hibernated", again: "19:00" });
  });

  test("of several rows the last to speak counts, and of two at one moment the wake", () => {
    const spec: SleepSpec = {
      schedule: [
        { sleep: "0 12 * * *", wake: "0 13 * * *" },
        { sleep: "0 20 * * *", wake: "0 12 * * *" },
      ],
    };
    expect(decide(spec, { state: "hibernated", since: at("01:00") })).toMatchObject({ state: "awake" });
    expect(decide(spec, {}, "2026-03-04T20:01:00Z")).toMatchObject({ state: "hibernated" });
  });

  test("the night of a day with 23 hours ends", () => {
    const spec: SleepSpec = { schedule: [{ sleep: "0 1 * * *", wake: "30 2 * * *" }], timeZone: "Europe/Berlin" };
    expect(decide(spec, { state: "hibernated", since: at("2026-03-29T00:00:00Z") }, "2026-03-29T01:31:00Z")).toMatchObject({
      state: "awake",
    });
  });
});

describe("by order", () => {
  test("awake: always, or until then", () => {
    expect(decide({ state: "Awake", afterIdle: "1m" })).toMatchObject({ state: "awake", again: undefined });
    const until = { awakeUntil: "2026-03-04T13:00:00Z", afterIdle: "1m", schedule: [{ sleep: "0 11 * * *", wake: "0 7 * * *" }] };
    expect(decide(until, { state: "stopped" })).toMatchObject({ state: "awake", again: "13:00" });
    expect(decide(until, {}, "2026-03-04T13:00:00Z")).toMatchObject({ state: "hibernated" });
  });

  test("asleep: at once, and again when a call that woke it has no other after it; no schedule and no CronJob wakes it", () => {
    const spec: SleepSpec = { state: "Asleep", schedule: [{ sleep: "0 20 * * *", wake: "0 11 * * *" }] };
    expect(decide(spec, { lastCall: at("11:59") })).toMatchObject({ state: "hibernated" });
    expect(decide(spec, { state: "hibernated", cronJobDue: at("12:00") })).toMatchObject({ state: "hibernated" });
    const woken = { since: at("11:55"), orderedAt: at("11:00"), lastCall: at("11:56") };
    expect(decide(spec, woken)).toMatchObject({ state: "awake", again: "12:06" });
    expect(decide(spec, woken, "2026-03-04T12:06:00Z")).toMatchObject({ state: "hibernated" });
  });
});

describe("CronJobs", () => {
  const SPEC: SleepSpec = { afterIdle: "1m" };
  const asleep = { state: "hibernated", since: at("10:00") } as const;

  test("wake in time, and hold until they began", () => {
    const due = { ...asleep, cronJobDue: at("12:01") };
    expect(nextSleep(at(NOON), sleepPolicy(SPEC), facts(due))).toMatchObject({
      state: "hibernated",
      lookAgainAt: at("12:01") - CRON_LEAD_MS,
    });
    expect(nextSleep(at("12:01") - CRON_LEAD_MS, sleepPolicy(SPEC), facts(due))).toMatchObject({ state: "awake" });
    expect(decide(SPEC, { since: at("12:00"), cronJobDue: at("12:01") }, "2026-03-04T12:05:00Z")).toMatchObject({
      state: "awake",
      again: "12:06",
    });
    expect(decide(SPEC, { since: at("12:00"), cronJobDue: at("12:01") }, "2026-03-04T12:06:00Z")).toMatchObject({ state: "hibernated" });
  });

  test("one that was missed is made up for, once", () => {
    expect(decide(SPEC, { ...asleep, cronJobDue: at("10:30") })).toMatchObject({ state: "awake" });
    expect(decide(SPEC, { since: at("11:58"), cronJobDue: at("10:30") })).toMatchObject({ state: "awake", again: "12:03" });
    expect(decide(SPEC, { ...asleep, cronJobDue: at("09:30") })).toMatchObject({ state: "hibernated" });
  });
});

const HOUR = 3_600_000;
const duration = fc.constantFrom("1m", "10m", "1h", "30h");
const cron = fc.constantFrom("0 20 * * *", "30 2 * * *", "*/20 * * * *", "0 7 * * 1-5", "0 0 29 2 *", "0 */6 * * *");
const specs = fc.record<SleepSpec>(
  {
    state: fc.constantFrom("Auto", "Auto", "Auto", "Awake", "Asleep"),
    afterIdle: duration,
    stopAfter: duration,
    paused: fc.boolean(),
    awakeUntil: fc.integer({ min: -10, max: 10 }).map((hours) => new Date(at(NOON) + hours * HOUR).toISOString()),
    schedule: fc.array(fc.record({ sleep: cron, wake: cron }), { maxLength: 3 }),
    timeZone: fc.constantFrom("UTC", "Europe/Berlin", "America/New_York"),
  },
  { requiredKeys: [] },
);
const ago = fc.integer({ min: 0, max: 50 * HOUR }).map((ms) => at(NOON) - ms);
const someFacts = fc.record<SleepFacts>(
  {
    state: fc.constantFrom("awake", "hibernated", "stopped"),
    since: ago,
    lastCall: ago,
    orderedAt: ago,
    cronJobDue: fc.integer({ min: -20 * HOUR, max: 20 * HOUR }).map((ms) => at(NOON) + ms),
    busy: fc.constant("a Job runs"),
  },
  { requiredKeys: ["state", "since"] },
);

describe("laws", () => {
  test("it is asked again in the future, and until then nothing changes", () => {
    fc.assert(
      fc.property(specs, someFacts, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (spec, known, part) => {
        const policy = sleepPolicy(spec);
        const now = at(NOON);
        const first = nextSleep(now, policy, known);
        expect(first.lookAgainAt ?? now + 1).toBeGreaterThan(now);
        if (first.state !== known.state) return;
        const later = now + Math.floor(part * ((first.lookAgainAt ?? now + 1_000 * HOUR) - now));
        expect(nextSleep(later, policy, known).state).toBe(first.state);
      }),
      { numRuns: 2_000 },
    );
  });

  test("what is decided and done is not undone a moment later", () => {
    fc.assert(
      fc.property(specs, someFacts, (spec, known) => {
        const policy = sleepPolicy(spec);
        const now = at(NOON);
        const first = nextSleep(now, policy, known);
        if (first.state === known.state) return;
        const then = { ...known, state: first.state, since: now };
        expect(nextSleep(now, policy, then).state).toBe(first.state);
        expect(nextSleep(now + 1_000, policy, then).state).toBe(first.state);
      }),
      { numRuns: 2_000 },
    );
  });

  test("nobody goes from stopped to hibernated", () => {
    fc.assert(
      fc.property(specs, someFacts, (spec, known) => {
        const { state } = nextSleep(at(NOON), sleepPolicy(spec), known);
        if (known.state === "stopped") expect(state).not.toBe("hibernated");
      }),
    );
  });
});

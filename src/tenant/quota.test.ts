import { expect, test } from "vitest";
import { crosses, datastoreFull, judge, needsWeighing, newUsage, type Usage, withQuota } from "./quota.ts";

const QUOTA = 1_000_000;
const CALM = { nowMs: 0, churnBytes: 10 * QUOTA, heaviestOfFullShard: false };
const MINUTE = 60_000;

function holding(bytes: number, usage: Usage = newUsage(QUOTA, false, 0)): Usage {
  return { ...usage, weighed: { keys: 1, bytes }, sinceBytes: 0, sinceDeletes: 0 };
}

test("open, full, stopped by what it holds; and back with some room to spare", () => {
  expect(judge(holding(999_999), CALM).state).toBe("open");
  const full = judge(holding(QUOTA), CALM);
  expect(full.state).toBe("full");
  expect(judge(holding(900_000, full), CALM).state).toBe("full");
  expect(judge(holding(899_999, full), CALM).state).toBe("open");
  expect(judge(holding(1_250_000, full), CALM)).toMatchObject({ state: "stopped", stop: { reason: "bytes", untilMs: 5 * MINUTE } });
});

test("what is the same is the same object: nothing is done", () => {
  for (const usage of [holding(1), judge(holding(QUOTA), CALM), judge(holding(2 * QUOTA), CALM), newUsage(QUOTA, true, 0)])
    expect(judge(usage, CALM)).toBe(usage);
});

test("who is let in and goes on writing is stopped sooner, for longer, and each time may write little", () => {
  let usage = judge(holding(1_250_000), CALM);
  let [nowMs, held] = [0, 1_250_000];
  const holds: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const until = usage.stop?.untilMs ?? 0;
    holds.push((until - nowMs) / MINUTE);
    expect(judge(usage, { ...CALM, nowMs: until - 1 }).state).toBe("stopped");
    nowMs = until;
    usage = judge(usage, { ...CALM, nowMs });
    expect(usage.state).toBe("full");
    expect(judge(holding(held, usage), { ...CALM, nowMs })).toMatchObject({ state: "full" });
    held += QUOTA / 16;
    usage = judge(holding(held, usage), { ...CALM, nowMs });
    expect(usage.state).toBe("stopped");
  }
  expect(holds).toEqual([5, 10, 20, 40, 60, 60]);
});

test("who deleted is forgiven: its marks are as at first", () => {
  const stopped = judge(holding(1_250_000), CALM);
  const again = judge(stopped, { ...CALM, nowMs: 5 * MINUTE });
  const open = judge(holding(100, again), CALM);
  expect(open).toMatchObject({ state: "open", stops: 0, markBytes: 1_250_000 });
});

test("a raised quota lets in at once, a lowered one does not forgive", () => {
  const stopped = judge(holding(1_250_000), CALM);
  expect(judge(withQuota(stopped, 4 * QUOTA), CALM).state).toBe("open");
  expect(judge(withQuota(stopped, QUOTA / 2), CALM).state).toBe("stopped");
  expect(judge(withQuota(holding(600_000), QUOTA / 2), CALM).state).toBe("full");
});

test("one that was stopped before the daemon began stays so until it is weighed", () => {
  const found = newUsage(QUOTA, true, 0);
  expect(judge(found, { ...CALM, nowMs: 60 * MINUTE }).state).toBe("stopped");
  expect(judge(holding(100, found), CALM).state).toBe("open");
});

test("overwriting is stopped by what was written, and the shard's need by whoever holds most", () => {
  expect(judge({ ...holding(5), windowBytes: 10 * QUOTA }, CALM)).toMatchObject({ state: "stopped", stop: { reason: "churn" } });
  const burden = judge(holding(5), { ...CALM, heaviestOfFullShard: true });
  expect(burden).toMatchObject({ state: "stopped", stop: { reason: "shard" } });
  expect(judge(burden, CALM).state).toBe("stopped");
  expect(judge(burden, { ...CALM, nowMs: 5 * MINUTE }).state).toBe("open");
});

test("a weighing is for who may have crossed a mark, or may be below one again", () => {
  expect(needsWeighing(newUsage(QUOTA, false, 0))).toBe(true);
  expect(needsWeighing({ ...holding(500_000), sinceBytes: 499_999 })).toBe(false);
  expect(needsWeighing({ ...holding(500_000), sinceBytes: 500_000 })).toBe(true);
  // right below its quota, each write would be a reason
  expect(needsWeighing({ ...holding(999_999), sinceBytes: 1_000 })).toBe(false);
  const full = judge(holding(QUOTA), CALM);
  expect(needsWeighing(full)).toBe(false);
  expect(needsWeighing({ ...full, sinceDeletes: 1 })).toBe(true);
  expect(crosses({ ...full, sinceDeletes: 1 })).toBe(false);
  expect(crosses({ ...full, sinceBytes: 250_000 })).toBe(true);
});

test.each([
  ["open", holding(1), "False", "HasRoom", "its quota is"],
  ["full", judge(holding(QUOTA), CALM), "True", "Full", "it holds 1.0 MiB of 1.0 MiB in 1 keys: nothing new is created until"],
  ["stopped", judge(holding(2 * QUOTA), CALM), "True", "Stopped", "writing is tried again at 1970-01-01T00:05:00.000Z"],
  ["not known", undefined, "Unknown", "NotWeighed", "not known yet"],
])("the condition of one that is %s says so, with numbers", (_, usage, status, reason, says) => {
  const condition = datastoreFull(usage, new Date(0));
  expect(condition).toMatchObject({ type: "DatastoreFull", status, reason });
  expect(condition.message).toContain(says);
});

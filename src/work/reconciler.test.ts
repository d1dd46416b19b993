import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { systemClock } from "../core/clock.ts";
import { reconciler } from "./reconciler.ts";

const log = pino({ level: "silent" });

function loop(
  reconcile: (key: string, signal: AbortSignal) => Promise<{ afterMs?: number } | undefined>,
  keys: string[] = [],
  concurrency = 2,
) {
  return reconciler({ name: "test", log, clock: systemClock, keys: () => keys, reconcile, concurrency, everyMs: 60_000 });
}

test("a key runs once for many nudges, and again for a nudge that came while it ran", async () => {
  let release = () => {};
  const ran: string[] = [];
  const one = loop(async (key) => {
    ran.push(key);
    if (ran.length === 1) await new Promise<void>((resolve) => (release = resolve));
    return undefined;
  });
  one.nudge("a");
  one.nudge("a");
  one.start();
  await vi.waitFor(() => expect(ran).toEqual(["a"]));
  one.nudge("a");
  one.nudge("a");
  expect(ran).toEqual(["a"]);
  release();
  await vi.waitFor(() => expect(ran).toEqual(["a", "a"]));
  await one.stop();
});

test("a failure is tried again with back-off, and success clears it", async () => {
  let tries = 0;
  const one = loop(async () => {
    tries += 1;
    if (tries < 3) throw new Error("not yet");
    return undefined;
  });
  one.start();
  one.nudge("a");
  await vi.waitFor(() => expect(tries).toBe(3), { timeout: 5_000 });
  await one.stop();
});

test("never more keys at once than allowed, and every key gets its turn", async () => {
  let now = 0;
  let most = 0;
  const seen = new Set<string>();
  const keys = ["a", "b", "c", "d", "e"];
  const one = loop(async (key) => {
    now += 1;
    most = Math.max(most, now);
    await new Promise((resolve) => setImmediate(resolve));
    now -= 1;
    seen.add(key);
    return undefined;
  }, keys);
  one.start();
  await vi.waitFor(() => expect([...seen].sort()).toEqual(keys));
  expect(most).toBe(2);
  await one.stop();
});

test("stop aborts what runs and waits for it", async () => {
  let ended = false;
  const one = loop(async (_key, signal) => {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    ended = true;
    return undefined;
  });
  one.start();
  one.nudge("a");
  await new Promise((resolve) => setImmediate(resolve));
  await one.stop();
  expect(ended).toBe(true);
});

test("who asks to be called again in a year is not called again at once", async () => {
  const slept: number[] = [];
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => {
      slept.push(ms);
      return systemClock.sleep(ms, signal);
    },
  };
  const reconcile = async () => ({ afterMs: 366 * 86_400_000 });
  const one = reconciler({ name: "test", log, clock, keys: () => [], reconcile, everyMs: 60_000 });
  one.start();
  one.nudge("a");
  await vi.waitFor(() => expect(slept).toContain(2 ** 31 - 1));
  await one.stop();
});

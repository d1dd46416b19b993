import { once } from "node:events";
import { Duplex } from "node:stream";
import { expect, test, vi } from "vitest";
import type { Clock } from "../core/clock.ts";
import { createConflictProbe } from "./conflict-probe.ts";
import { address } from "./dhcp.fixture.ts";

/** A helper that the test answers for, on a clock that goes on when it is told to. */
function helper() {
  const asked: string[] = [];
  const pair = new Duplex({
    read: () => {},
    write(chunk, _encoding, done) {
      asked.push(String(chunk));
      done();
    },
  });
  const sleeps: (() => void)[] = [];
  const clock: Clock = { now: () => new Date(), sleep: () => new Promise((resolve) => void sleeps.push(resolve)) };
  const patienceEnds = () => {
    for (const end of sleeps.splice(0)) end();
  };
  const onGone = vi.fn();
  return { asked, pair, patienceEnds, onGone, probe: createConflictProbe(pair, clock, onGone) };
}

test("what the helper says is the answer, asked once for all who want to know", async () => {
  const { asked, pair, probe } = helper();
  const answers = [probe.isUsed(address("10.77.0.9")), probe.isUsed(address("10.77.0.9")), probe.isUsed(address("10.77.0.10"))];
  pair.push("10.77.0.10 free\nnonsense\n10.77.0.9 used 52:54:00:00:00:01\n");
  expect(await Promise.all(answers)).toEqual([true, true, false]);
  expect(asked).toEqual(["10.77.0.9\n", "10.77.0.10\n"]);
});

test("a helper that says nothing holds up nobody for long, and one that is gone nobody at all", async () => {
  const { pair, probe, patienceEnds, onGone } = helper();
  const slow = probe.isUsed(address("10.77.0.9"));
  patienceEnds();
  expect(await slow).toBe(false);
  const lost = probe.isUsed(address("10.77.0.10"));
  pair.destroy();
  expect(await lost).toBe(false);
  expect(await probe.isUsed(address("10.77.0.11"))).toBe(false);
  expect(onGone).toHaveBeenCalledOnce();
});

test("a stop is not told as a loss", async () => {
  const { pair, probe, onGone } = helper();
  probe.stop();
  await once(pair, "close");
  expect(onGone).not.toHaveBeenCalled();
});

import { expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { durationOption, waitFor } from "./wait.ts";

/** A clock that jumps over what is slept. */
function jumping(): Clock {
  let now = 0;
  return {
    now: () => new Date(now),
    async sleep(ms) {
      now += ms;
    },
  };
}

function waiting(seen: readonly string[], isTTY: boolean, timeoutMs = 60_000) {
  const written: string[] = [];
  let looks = 0;
  const result = waitFor({
    what: "virtual cluster team/acme",
    wanted: "ready",
    timeoutMs,
    clock: jumping(),
    out: { isTTY, write: (text) => written.push(text) },
    look: async () => ({ done: looks >= seen.length, seen: seen[looks++] ?? "" }),
  });
  return { result, written };
}

test("elsewhere than on a terminal: a line each time that it waits for something else", async () => {
  const { result, written } = waiting(["etcd", "etcd", "etcd", "etcd", "etcd", "its apiserver\nand more"], false);
  expect(await result).toBe(1.5);
  expect(written).toEqual([
    "waiting for virtual cluster team/acme: etcd (0s)\n",
    "waiting for virtual cluster team/acme: its apiserver (1s)\n",
  ]);
});

test("on a terminal: one line, which is gone in the end; nothing that it would obey", async () => {
  const { result, written } = waiting(["a\u001b[2J", "b"], true);
  await result;
  expect(written).toEqual([
    "\r\u001b[K" + "waiting for virtual cluster team/acme: a�[2J (0s)",
    "\r\u001b[K" + "waiting for virtual cluster team/acme: b (0s)",
    "\r\u001b[K",
  ]);
});

test("in the end it says what was seen last", async () => {
  const { result } = waiting(
    Array.from({ length: 100 }, () => "its apiserver"),
    false,
    10_000,
  );
  await expect(result).rejects.toMatchObject({
    code: "IRW_WAIT_TIMEOUT",
    message: "virtual cluster team/acme is not ready after 10s; last seen: its apiserver",
  });
});

test("durations of the command line", () => {
  expect(durationOption("1h30m")).toBe(5_400_000);
  for (const text of ["", "5", "soon", "Never", "-1s"]) expect(() => durationOption(text)).toThrow("expected a duration");
});

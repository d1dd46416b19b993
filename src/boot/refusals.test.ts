import { pino } from "pino";
import { expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { createRefusals } from "./refusals.ts";

test("whatever the network sends, a reason is logged once in ten seconds, with how often it was since", () => {
  const lines: Record<string, unknown>[] = [];
  let now = Date.parse("2026-01-01T00:00:00Z");
  const clock: Clock = { now: () => new Date(now), sleep: () => Promise.resolve() };
  const refusals = createRefusals(pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) }), clock);

  for (let datagram = 0; datagram < 100_000; datagram++) {
    refusals.count("dhcp: truncated", { from: `10.77.0.${datagram % 250}` });
    if (datagram % 1000 === 0) refusals.count("tftp: opcode", { from: "10.77.0.9" });
    now += 1;
  }
  // 100 s of it: one line when it begins and one every ten seconds, of each reason by itself
  const of = (reason: string) => lines.filter((line) => line.reason === reason);
  expect(of("dhcp: truncated")).toHaveLength(10);
  expect(of("tftp: opcode")).toHaveLength(10);
  expect(of("dhcp: truncated").map(({ times }) => times)).toEqual([1, ...Array.from({ length: 9 }, () => 10_000)]);
  expect(of("dhcp: truncated")[1]).toMatchObject({ from: "10.77.0.0", msg: "refused" });

  // none is lost for not being logged
  expect(refusals.all()).toEqual({ "dhcp: truncated": 100_000, "tftp: opcode": 100 });
  expect(refusals.list()[0]).toMatchObject({ reason: "dhcp: truncated", count: 100_000, last: { from: "10.77.0.249" } });
});

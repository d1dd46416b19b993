import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Attempt, ended, follow, historyOf, isOver, STEPS, slowestStep } from "./attempt.ts";
import type { BootEvent, Sign, Stage } from "./contract.ts";

const start = Date.parse("2026-03-01T12:00:00Z");
const at = (seconds: number) => new Date(start + seconds * 1000).toISOString();
const dhcp = (seconds: number, what: Sign["what"], client: Sign["client"], more: Partial<Sign> = {}): BootEvent => ({
  at: at(seconds),
  stage: "dhcp",
  detail: "",
  sign: { what, ...(client ? { client } : {}), name: "UEFI PXE", ...more },
});
const event = (seconds: number, stage: Stage, what?: Sign["what"]): BootEvent => ({
  at: at(seconds),
  stage,
  detail: "",
  ...(what ? { sign: { what } } : {}),
});

/** All attempts that a list of events makes, the last one as it stands. */
function attempts(events: readonly BootEvent[]): Attempt[] {
  const over: Attempt[] = [];
  let current: Attempt | undefined;
  for (const one of events) {
    const { attempt, before } = follow(current, one, "m1", current?.number ?? 0);
    if (before) over.push(before);
    else if (current?.end !== undefined && attempt !== current) over.push(current);
    current = attempt;
  }
  return current ? [...over, current] : over;
}

const boot: readonly BootEvent[] = [
  dhcp(0, "offered", "pxe"),
  dhcp(1, "leased", "pxe"),
  event(1.2, "tftp", "sized"),
  event(2, "tftp", "fetched"),
  dhcp(6, "offered", "ipxe"),
  dhcp(6.5, "leased", "ipxe"),
  event(7, "script"),
  event(9, "kernel", "fetched"),
  event(14, "initrd", "fetched"),
  dhcp(20, "leased", "plain"),
  event(22, "key"),
  event(23, "hello"),
];

describe("one boot is one attempt", () => {
  test("with the time of each step since the one before it", () => {
    const [attempt, ...more] = attempts(boot);
    expect(more).toEqual([]);
    expect(attempt).toMatchObject({ machine: "m1", number: 1, client: "UEFI PXE", startedAt: at(0) });
    expect(attempt?.steps.map(({ step, seconds }) => [step, seconds])).toEqual([
      ["address", 1],
      ["program", 1],
      ["ipxe", 4.5],
      ["script", 0.5],
      ["kernel", 2],
      ["initrd", 5],
      ["hello", 9],
    ]);
  });

  test("that work on the machine ends, and later leases of its system do not reopen", () => {
    const all = attempts([...boot, event(60, "file"), event(90, "installed"), dhcp(95, "leased", "plain"), event(99, "installed")]);
    expect(all.map(({ number, end }) => [number, end])).toEqual([[1, "installed"]]);
    expect(all[0]?.steps.at(-1)).toMatchObject({ step: "installed", seconds: 67 });
  });

  test("its own disk is a boot as well, and over at once", () => {
    const all = attempts([...boot, event(90, "inspected"), dhcp(120, "offered", "pxe", { because: "disk" })]);
    expect(all.map(({ number, end }) => [number, end])).toEqual([
      [1, "inspected"],
      [2, "disk"],
    ]);
  });

  test("firmware that starts anew ends the attempt before; one that asks again because nobody heard it does not", () => {
    expect(attempts([dhcp(0, "offered", "pxe"), dhcp(4, "offered", "pxe"), dhcp(12, "offered", "pxe")])).toHaveLength(1);
    expect(attempts([...boot.slice(0, 4), dhcp(60, "offered", "pxe")]).map(({ end }) => end)).toEqual(["stopped", undefined]);
    expect(attempts([...boot, dhcp(60, "offered", "pxe")]).map(({ end }) => end)).toEqual(["hello", undefined]);
    expect(attempts([dhcp(0, "offered", "pxe"), dhcp(400, "offered", "pxe")]).map(({ end }) => end)).toEqual(["stopped", undefined]);
  });

  test("a fetch that is repeated took until it succeeded", () => {
    const [attempt] = attempts([...boot.slice(0, 7), event(9, "kernel", "broken-off"), event(30, "kernel", "fetched")]);
    expect(attempt?.steps.at(-1)).toMatchObject({ step: "kernel", seconds: 23 });
  });

  test("one whose beginning nobody saw says so", () => {
    expect(attempts(boot.slice(6))[0]).toMatchObject({ partial: true, number: 1 });
    expect(attempts([event(0, "file"), dhcp(1, "leased", "plain")])).toEqual([]);
  });
});

test("whatever comes in whatever order, steps stay in their order and times are not negative", () => {
  const stages = fc.constantFrom<Stage>("tftp", "program", "script", "kernel", "initrd", "key", "file", "hello", "inspected", "installed");
  const any = fc.oneof(
    fc.tuple(
      fc.nat(700),
      fc.constantFrom<Sign["client"]>("pxe", "http", "ipxe", "plain"),
      fc.constantFrom<Sign["what"]>("offered", "leased"),
    ),
    fc.tuple(fc.nat(700), stages),
  );
  fc.assert(
    fc.property(fc.array(any, { maxLength: 40 }), (list) => {
      let clock = 0;
      const events = list.map((one) => {
        clock += one[0];
        return one.length === 3 ? dhcp(clock, one[2], one[1]) : event(clock, one[1]);
      });
      const all = attempts(events);
      expect(all.map(({ number }) => number)).toEqual(all.map((_, index) => index + 1));
      for (const { steps } of all) {
        const places = steps.map(({ step }) => STEPS.indexOf(step));
        expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
        expect(steps.every(({ seconds }) => seconds >= 0)).toBe(true);
      }
      expect(all.slice(0, -1).every(({ end }) => end !== undefined)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("silence ends an attempt: fifteen minutes before the hello, two hours after it", () => {
  const [before] = attempts(boot.slice(0, 5));
  const [after] = attempts(boot);
  if (!before || !after) throw new Error("no attempts");
  expect([isOver(before, new Date(start + 890_000)), isOver(before, new Date(start + 920_000))]).toEqual([false, true]);
  expect([isOver(after, new Date(start + 920_000)), isOver(after, new Date(start + 7_300_000))]).toEqual([false, true]);
  expect(ended(before, "no script")).toMatchObject({ end: "stopped", why: "no script" });
  expect(ended(after, "no script")).not.toHaveProperty("why");
});

describe("the slowest step", () => {
  const [attempt] = attempts(boot);
  const steps = attempt?.steps ?? [];
  const usual = (step: (typeof STEPS)[number], ...seconds: number[]) => historyOf(step, seconds);

  test("without history is the longest", () => {
    expect(slowestStep(steps, [])).toBe("hello");
    expect(slowestStep([], [])).toBeUndefined();
  });

  test("with history is the one that cost most beyond what is usual", () => {
    const history = [usual("hello", 9, 10, 11), usual("ipxe", 1, 1.2, 1.4), usual("initrd", 5, 5, 5)];
    expect(slowestStep(steps, history)).toBe("ipxe");
  });

  test("is found also when its own boot is part of a short history", () => {
    expect(slowestStep(steps, [usual("hello", 9, 9, 9), usual("initrd", 0.1, 0.1, 0.1, 5)])).toBe("initrd");
  });

  test("with history and nothing unusual is none; two boots are no history", () => {
    expect(slowestStep(steps, [usual("hello", 9, 10, 11)])).toBeUndefined();
    expect(slowestStep(steps, [usual("ipxe", 1, 1)])).toBe("hello");
  });

  test("median and p90 are values that occurred", () => {
    expect(historyOf("kernel", [5, 1, 4, 2, 3, 10, 6, 7, 8, 9])).toEqual({ step: "kernel", count: 10, median: 5, p90: 9 });
  });
});

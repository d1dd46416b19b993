import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ownedByWindow, Windows } from "./time-windows.ts";
import type { MachineSupply, NodeSupply, Window, World } from "./world.ts";
import { machine, node, pod, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 192, memory: 2048, gpu: 8 };

function fleet(count: number, type = "h", more: Partial<MachineSupply> = {}): MachineSupply[] {
  return Array.from({ length: count }, (_, n) => machine(`${type}${n}`, BOX, { nodeLabels: { type }, ...more }));
}

function window(name: string, count: number | undefined, startsInS: number, endsInS: number, more: Partial<Window> = {}): Window {
  return { name, tenant: "acme.a", selector: { type: "h" }, startsInS, endsInS, ...(count === undefined ? {} : { count }), ...more };
}

function kept(machines: readonly MachineSupply[], windows: readonly Window[], nodes: Record<string, readonly NodeSupply[]> = {}): World {
  const tenants = ["a", "b", "c"].map((name) => tenant(name, { nodes: nodes[name] ?? [] }));
  return { ...world(machines, ...tenants), windows, policy: { turnaroundS: 600 } };
}

/** Which of the machines a tenant may open one after the other. */
function opens(of: Windows, who: string, names: readonly string[], endsInS?: number): string[] {
  return names.filter((name) => {
    const free = of.problem(`acme.${who}`, name, endsInS) === undefined;
    if (free) of.opened(`acme.${who}`, name, endsInS);
    return free;
  });
}

const H = ["h0", "h1", "h2"];

describe("machines kept in a window", () => {
  test("others may open what is left over; its own tenant all of it; nothing is kept once it is over", () => {
    const world = kept(fleet(3), [window("w", 2, 3_600, 7_200)]);
    expect(opens(new Windows(world), "b", H)).toEqual(["h0"]);
    expect(opens(new Windows(world), "a", H)).toEqual(H);
    expect(opens(new Windows(kept(fleet(3), [window("w", 2, -7_200, 0)])), "b", H)).toEqual(H);
    const all = new Windows(kept(fleet(3), [window("w", undefined, 3_600, 7_200)]));
    expect(opens(all, "b", H)).toEqual([]);
    expect(all.problem("acme.b", "h0")).toBe(
      "kept for acme.a (reservation window w), which begins in 3600 s: only work that ends 600 s before may use it",
    );
  });

  test("backfill: work that ends with the turnaround before the window begins may use kept machines", () => {
    const of = () => new Windows(kept(fleet(1), [window("w", 1, 3_600, 7_200)]));
    expect(opens(of(), "b", ["h0"], 3_000)).toEqual(["h0"]);
    expect(opens(of(), "b", ["h0"], 3_001)).toEqual([]);
    expect(new Windows(kept(fleet(1), [window("w", 1, -1, 7_200)])).problem("acme.b", "h0", 1)).toBe(
      "kept for acme.a (reservation window w)",
    );
  });

  test("what its tenant has already counts; so does backfill that is known to end, and a machine on its way out", () => {
    const windows = [window("w", 2, 3_600, 7_200)];
    const busy = fleet(3).map((one, n) => (n === 0 ? { ...one, unavailable: "in use" } : one));
    const held = node("n0", BOX, { machine: "h0" });
    expect(opens(new Windows(kept(busy, windows, { a: [held] })), "b", ["h1", "h2"])).toEqual(["h1"]);
    expect(opens(new Windows(kept(busy, windows, { c: [held] })), "b", ["h1", "h2"])).toEqual([]);
    const ending = { ...held, pods: [{ ...pod("x", { gpu: 8 }), endsInS: 3_000 }] };
    expect(opens(new Windows(kept(busy, windows, { c: [ending] })), "b", ["h1", "h2"])).toEqual(["h1"]);
    const leaving = [...fleet(2), machine("late", BOX, { nodeLabels: { type: "h" }, readyInS: 900 })];
    expect(opens(new Windows(kept(leaving, windows)), "b", ["h0", "h1"])).toEqual(["h0"]);
    const tooLate = [...fleet(2), machine("late", BOX, { nodeLabels: { type: "h" }, readyInS: 3_700 })];
    expect(opens(new Windows(kept(tooLate, windows)), "b", ["h0", "h1", "late"])).toEqual(["late"]);
  });

  test("windows one after the other share a machine; windows at once do not; each gets what only it can use", () => {
    const after = [window("w1", 1, -1, 3_600), window("w2", 1, 3_600, 7_200, { tenant: "acme.b" })];
    expect(opens(new Windows(kept(fleet(1), after)), "a", ["h0"])).toEqual(["h0"]);
    expect(opens(new Windows(kept(fleet(2), after)), "c", ["h0", "h1"])).toEqual(["h0"]);
    const together = [window("w1", 1, 60, 3_600), window("w2", 1, 60, 7_200, { tenant: "acme.b" })];
    expect(opens(new Windows(kept(fleet(3), together)), "c", H)).toEqual(["h0"]);
    const mixed = [...fleet(1), ...fleet(1, "x")];
    const any = window("any", 1, 60, 3_600, { selector: {} });
    const only = window("only", 1, 60, 3_600, { tenant: "acme.b" });
    expect(opens(new Windows(kept(mixed, [any, only])), "c", ["h0", "x0"])).toEqual([]);
    expect(opens(new Windows(kept([...mixed, ...fleet(1, "y")], [any, only])), "c", ["h0", "x0", "y0"])).toEqual(["x0"]);
  });

  test("a window that lacks machines already takes nothing more from others than what it could use", () => {
    const windows = [window("w", 5, 3_600, 7_200)];
    const other = [...fleet(2), ...fleet(2, "x")];
    expect(opens(new Windows(kept(other, windows)), "b", ["h0", "h1", "x0", "x1"])).toEqual(["x0", "x1"]);
  });

  test("its tenant owns them, from a turnaround before it begins", () => {
    const owned = (startsInS: number, count?: number) =>
      ownedByWindow(kept(fleet(3), [window("w", count, startsInS, 7_200)]), "acme.a", () => 1);
    expect([owned(600, 2), owned(601, 2), owned(0), owned(0, 9)]).toEqual([2, 0, 3, 3]);
  });

  test("law: who opens a machine leaves every window as many as it could have had, by brute force", () => {
    const sets = fc.constantFrom<Record<string, string>>({}, { type: "h" }, { type: "x" });
    const list = fc.array(
      fc.record({
        selector: sets,
        count: fc.integer({ min: 1, max: 3 }),
        owner: fc.constantFrom("acme.a", "acme.b"),
        start: fc.constantFrom(60, 120),
      }),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(fc.nat(3), fc.nat(3), list, (h, x, ws) => {
        const machines = [...fleet(h), ...fleet(x, "x")];
        const windows = ws.map((one, n) => window(`w${n}`, one.count, one.start, 7_200, { selector: one.selector, tenant: one.owner }));
        const of = new Windows(kept(machines, windows));
        const left = machines.map((one) => one.name).filter((name) => !opens(of, "c", [name]).includes(name));
        const free = { h: 0, x: 0 };
        for (const name of left) free[name.startsWith("h") ? "h" : "x"] += 1;
        // at the last start all windows are open: most machines that can be handed out
        const most = (have: { h: number; x: number }) => {
          const want = { h: 0, x: 0, any: 0 };
          for (const one of ws) want[one.selector.type === "h" ? "h" : one.selector.type === "x" ? "x" : "any"] += one.count;
          const own = Math.min(have.h, want.h) + Math.min(have.x, want.x);
          return own + Math.min(want.any, have.h + have.x - own);
        };
        expect(most(free)).toBe(most({ h, x }));
        expect(left.length).toBe(most({ h, x }));
      }),
      { numRuns: 300 },
    );
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Shares } from "./shares.ts";
import type { Quota } from "./world.ts";
import { machine, node, pod, sized, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 192, memory: 2048, gpu: 8 };
const ONE = sized(BOX);

function shares(free: number, held: Record<string, { quota?: Quota; nodes?: number; leaving?: number; since?: string }>): Shares {
  const tenants = Object.entries(held).map(([name, { quota, nodes = 0, leaving = 0, since }]) =>
    tenant(name, {
      nodes: Array.from({ length: nodes + leaving }, (_, n) => node(`${name}${n}`, BOX, { leaving: n >= nodes })),
      pods: [{ ...pod(`${name}-p`, { gpu: 8 }), since: since ?? "1" }],
      ...(quota === undefined ? {} : { quota }),
    }),
  );
  return new Shares(
    world(
      Array.from({ length: free }, (_, n) => machine(`f${n}`, BOX)),
      ...tenants,
    ),
  );
}

/** How many machines it may open one after the other, and what stops it. */
function opens(of: Shares, name: string, most = 20): { count: number; limit?: string } {
  for (let count = 0; count < most; count += 1) {
    const problem = of.problem(`acme.${name}`, of.measure(ONE));
    if (problem) return { count, limit: problem.limit };
    of.opened(`acme.${name}`, of.measure(ONE));
  }
  return { count: most };
}

describe("what a tenant may have", () => {
  test("nominal, then borrowed up to its limit", () => {
    const of = shares(4, { a: { quota: { nominal: 2, borrow: 1 } }, b: { quota: { nominal: 2 } } });
    expect(opens(of, "a")).toEqual({ count: 3, limit: "borrowing limit" });
    expect(of.problem("acme.a", of.measure(ONE))).toEqual({
      limit: "borrowing limit",
      reason: "quota: borrowing limit: 3 of 2 + 1 machines used, 1 more wanted",
      hint: "a borrowing limit or a nominal quota of acme.a that is 1 higher",
    });
  });

  test("never what another tenant owns and does not lend; what nobody owns is everybody's", () => {
    const of = (lend: number, free: number) => shares(free, { a: { quota: { nominal: 2 } }, b: { quota: { nominal: 2, lend } } });
    expect(opens(of(0, 4), "a")).toEqual({ count: 2, limit: "lending limit" });
    expect(opens(of(1, 4), "a")).toEqual({ count: 3, limit: "lending limit" });
    expect(opens(of(0, 6), "a")).toEqual({ count: 4, limit: "lending limit" });
    const one = of(1, 4);
    expect(opens(one, "a").count).toBe(3);
    expect(one.problem("acme.a", one.measure(ONE))?.hint).toBe("1 more machines, or other tenants that lend 1 more");
    expect(opens(one, "b", 1)).toEqual({ count: 1 });
  });

  test("what the owner uses itself need not be kept for it; another cohort lends nothing", () => {
    const busy = shares(3, { a: { quota: { nominal: 0 } }, b: { quota: { nominal: 2, lend: 1 }, nodes: 1 } });
    expect(opens(busy, "a", 3)).toEqual({ count: 3 });
    const apart = shares(3, { a: { quota: { nominal: 0, cohort: "x" } }, b: { quota: { nominal: 2, cohort: "y" } } });
    expect(opens(apart, "a")).toEqual({ count: 1, limit: "lending limit" });
  });

  test("units: a resource instead of machines; a node on its way out counts for limits", () => {
    const gpus = shares(4, { a: { quota: { nominal: 16, borrow: 8, unit: "nvidia.com/gpu" } } });
    expect(opens(gpus, "a")).toEqual({ count: 3, limit: "borrowing limit" });
    const leaving = shares(4, { a: { quota: { nominal: 2, borrow: 0 }, nodes: 1, leaving: 1 } });
    expect(opens(leaving, "a")).toEqual({ count: 0, limit: "borrowing limit" });
    expect(leaving.excess("acme.a")).toBe(-1);
  });

  test("no quota: bound by nothing, owner of nothing; what was undone is as if it had not been", () => {
    const of = shares(2, { a: {}, b: { quota: { nominal: 1, lend: 0 } } });
    expect(of.owns("acme.a", of.measure(ONE))).toBe(false);
    expect(opens(of, "a")).toEqual({ count: 1, limit: "lending limit" });
    of.closed("acme.a", of.measure(ONE));
    expect(opens(of, "a")).toEqual({ count: 1, limit: "lending limit" });
  });

  test("what is borrowed may be taken back, what is owned may not; idle machines are lent up to the lending limit", () => {
    const of = shares(0, { a: { quota: { nominal: 2, lend: 1 }, nodes: 3 }, b: { quota: { nominal: 2 } } });
    expect([of.excess("acme.a"), of.lendable("acme.a")]).toEqual([1, 2]);
    expect(of.owns("acme.b", of.measure(ONE))).toBe(true);
    of.opened("acme.b", of.measure(ONE));
    of.opened("acme.b", of.measure(ONE));
    expect(of.owns("acme.b", of.measure(ONE))).toBe(false);
  });
});

describe("whose turn it is", () => {
  /** Hands out machines one by one to tenants that all want more. */
  function dealt(free: number, held: Parameters<typeof shares>[1]): Record<string, number> {
    const of = shares(free, held);
    const names = Object.keys(held);
    const got = Object.fromEntries(names.map((name) => [name, 0]));
    for (let nth = 0; nth < free; nth += 1) {
      const [next = ""] = [...names].sort((a, b) => of.compare(`acme.${a}`, `acme.${b}`));
      got[next] = (got[next] ?? 0) + 1;
      of.opened(`acme.${next}`, of.measure(ONE));
    }
    return got;
  }

  test("by weight, the heavier first among equals, then who waits longest, then by name", () => {
    const weights = { a: {}, b: { quota: { weight: 2 } } };
    expect(dealt(6, weights)).toEqual({ a: 2, b: 4 });
    expect(dealt(1, weights)).toEqual({ a: 0, b: 1 });
    expect(dealt(1, { a: { since: "2" }, b: { since: "1" } })).toEqual({ a: 0, b: 1 });
    expect(dealt(1, { b: {}, a: {} })).toEqual({ a: 1, b: 0 });
  });

  test("owners before borrowers, who holds less before who holds more", () => {
    expect(dealt(2, { a: {}, b: { quota: { nominal: 2 } } })).toEqual({ a: 0, b: 2 });
    expect(dealt(3, { a: {}, b: { quota: { nominal: 2 } } })).toEqual({ a: 1, b: 2 });
    expect(dealt(2, { a: { nodes: 2 }, b: {} })).toEqual({ a: 0, b: 2 });
    expect(dealt(3, { a: { quota: { weight: 0 } }, b: {} })).toEqual({ a: 0, b: 3 });
  });

  test("dominant: many small servers are a smaller share than all the GPU servers", () => {
    const small = { cpu: 8, memory: 32 };
    const cpu = tenant("cpu", { nodes: Array.from({ length: 3 }, (_, n) => node(`c${n}`, small)) });
    const gpu = tenant("gpu", { nodes: [node("g", BOX)] });
    const of = new Shares(world([machine("f", BOX)], cpu, gpu));
    expect(of.share("acme.cpu")).toBeCloseTo(3 / 5);
    expect(of.share("acme.gpu")).toBeCloseTo(0.5);
    const many = new Shares(
      world(
        [...Array(9)].map((_, n) => machine(`s${n}`, small)),
        cpu,
        gpu,
      ),
    );
    expect(many.compare("acme.cpu", "acme.gpu")).toBeLessThan(0);
  });

  test("laws: owners get what they own, limits hold, and a tenant without quota and demand changes no turn", () => {
    const quotas = fc.record(
      {
        nominal: fc.integer({ min: 0, max: 3 }),
        borrow: fc.integer({ min: 0, max: 3 }),
        lend: fc.integer({ min: 0, max: 3 }),
        weight: fc.integer({ min: 1, max: 4 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(quotas, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 12 }), (list, free) => {
        const held = Object.fromEntries(list.map((quota, n) => [`t${n}`, { quota }]));
        const deal = (more: Parameters<typeof shares>[1]) => {
          const of = shares(free, { ...held, ...more });
          const got = new Map<string, number>();
          const order: string[] = [];
          for (let left = free; left > 0; left -= 1) {
            const able = Object.keys(held).filter((name) => of.problem(`acme.${name}`, of.measure(ONE)) === undefined);
            const [next] = able.sort((a, b) => of.compare(`acme.${a}`, `acme.${b}`));
            if (next === undefined) break;
            of.opened(`acme.${next}`, of.measure(ONE));
            got.set(next, (got.get(next) ?? 0) + 1);
            order.push(next);
          }
          return { got, order };
        };
        const { got, order } = deal({});
        const owned = list.reduce((sum, { nominal = 0 }) => sum + nominal, 0);
        for (const [n, { nominal, borrow }] of list.entries()) {
          const count = got.get(`t${n}`) ?? 0;
          if (borrow !== undefined) expect(count).toBeLessThanOrEqual((nominal ?? 0) + borrow);
          if (owned <= free) expect(count).toBeGreaterThanOrEqual(nominal ?? 0);
        }
        expect(deal({ zz: {} }).order).toEqual(order);
      }),
      { numRuns: 200 },
    );
  });
});

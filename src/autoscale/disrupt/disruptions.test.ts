import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allowed } from "./budgets.ts";
import { type DisruptionNode, type DisruptionPool, disruptions } from "./disruptions.ts";

const NOW = new Date("2026-01-01T12:00:00Z");
const ago = (s: number) => new Date(NOW.getTime() - s * 1_000);

function node(claim: string, more: Partial<DisruptionNode> = {}): DisruptionNode {
  return {
    claim,
    pool: "p",
    initialized: true,
    leaving: false,
    empty: true,
    quietSince: ago(60),
    wanted: false,
    doNotDisrupt: false,
    created: ago(3_600),
    expireAfterMs: Number.POSITIVE_INFINITY,
    ...more,
  };
}

const pool = (more: Partial<DisruptionPool> = {}): DisruptionPool => ({
  name: "p",
  consolidateAfterMs: 30_000,
  budgets: [{ nodes: "100%" }],
  ...more,
});
const names = (nodes: DisruptionNode[], of = pool()) =>
  disruptions({ pools: [of], nodes }, NOW).now.map((one) => `${one.claim} ${one.reason}`);

describe("empty nodes", () => {
  test("are given back consolidateAfter after the last pod event, and not before", () => {
    expect(names([node("a")])).toEqual(["a Empty"]);
    const early = disruptions({ pools: [pool()], nodes: [node("a", { quietSince: ago(20) })] }, NOW);
    expect([early.now, early.next]).toEqual([[], new Date(NOW.getTime() + 10_000)]);
    expect(names([node("a")], pool({ consolidateAfterMs: Number.POSITIVE_INFINITY }))).toEqual([]);
    expect(names([node("a", { quietSince: NOW })], pool({ consolidateAfterMs: 0 }))).toEqual(["a Empty"]);
  });

  test.each<[string, Partial<DisruptionNode>]>([
    ["has work", { empty: false }],
    ["is expected to take a pending pod", { wanted: true }],
    ["is not initialised", { initialized: false }],
    ["is leaving already", { leaving: true }],
    ["was asked to be left alone", { doNotDisrupt: true }],
    ["belongs to a pool nobody knows", { pool: "other" }],
  ])("not one that %s", (_name, more) => {
    expect(names([node("a", more)])).toEqual([]);
  });

  test("what keeps a node is said", () => {
    const held = disruptions(
      { pools: [pool({ budgets: [{ nodes: "0" }] })], nodes: [node("a"), node("b", { doNotDisrupt: true })] },
      NOW,
    ).held;
    expect(held).toEqual([
      { claim: "a", reason: "the pool's disruption budget (0 of 2 nodes)" },
      { claim: "b", reason: "karpenter.sh/do-not-disrupt" },
    ]);
  });

  test("the longest empty goes first, within the budget, those on their way out counted", () => {
    const nodes = [
      node("a", { quietSince: ago(40) }),
      node("b", { quietSince: ago(90) }),
      node("c", { quietSince: ago(50) }),
      node("d", { leaving: true }),
    ];
    expect(names(nodes, pool({ budgets: [{ nodes: "3" }] }))).toEqual(["b Empty", "c Empty"]);
    expect(names(nodes, pool({ budgets: [{ nodes: "50%" }] }))).toEqual(["b Empty"]);
  });
});

test("an expired node goes whatever runs on it, budget or not", () => {
  const old = { expireAfterMs: 1_000_000, empty: false, doNotDisrupt: true };
  expect(names([node("a", old)], pool({ budgets: [{ nodes: "0" }] }))).toEqual(["a Expired"]);
  expect(names([node("a", { ...old, expireAfterMs: 10_000_000 })])).toEqual([]);
});

test.each([
  [undefined, 1, 1],
  [undefined, 11, 2],
  [[{ nodes: "50%" }], 5, 3],
  [[{ nodes: "50%" }, { nodes: "1" }], 5, 1],
  [[{ nodes: "0", reasons: ["Drifted"] }, { nodes: "4" }], 5, 4],
  [[{ nodes: "0", schedule: "0 9 * * *", duration: "8h" }], 5, 0],
  [[{ nodes: "lots" }], 5, 0],
  [[{ nodes: "10" }], 5, 5],
  [[], 5, 5],
])("budget %j of %d nodes allows %d", (budgets, nodes, most) => {
  expect(allowed(budgets, "Empty", nodes)).toBe(most);
});

test("never more at once than the budget, in any world, and order does not matter", () => {
  const some = fc.array(fc.record({ empty: fc.boolean(), leaving: fc.boolean(), wanted: fc.boolean(), quiet: fc.nat(100) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(some, fc.nat(6), (list, most) => {
      const nodes = list.map(({ quiet, ...more }, n) => node(`n${n}`, { ...more, quietSince: ago(quiet) }));
      const given = names(nodes, pool({ budgets: [{ nodes: String(most) }] }));
      const going = nodes.filter((one) => one.leaving).length;
      expect(given.length).toBeLessThanOrEqual(Math.max(0, most - going));
      expect(names([...nodes].reverse(), pool({ budgets: [{ nodes: String(most) }] }))).toEqual(given);
    }),
  );
});

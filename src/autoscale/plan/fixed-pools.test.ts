import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ONE } from "../../core/quantity.ts";
import { disruptions } from "./disrupt.ts";
import { plan } from "./plan.ts";
import type { PoolWorld, World } from "./world.ts";
import { carriedOut, machine, node, pod, podsOn, pool, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
const free = (count: number) => Array.from({ length: count }, (_, n) => machine(`m${n}`, BOX));
const fixed = (replicas: number, more: Partial<PoolWorld> = {}) => pool("f", { replicas, ...more });
const machinesOf = (given: World) =>
  plan(given)
    .claims.map((one) => one.machine)
    .sort();

describe("pools of a fixed size", () => {
  test("get their machines without any pod, and no more", () => {
    const given = world(free(3), tenant("a", { pools: [fixed(2)] }));
    const result = plan(given);
    expect(result.claims.map((one) => [one.machine, one.pool])).toEqual([
      ["m0", "f"],
      ["m1", "f"],
    ]);
    // up only with its GPUs
    expect(result.claims[0]?.requests.get("nvidia.com/gpu")).toBe(8n * ONE);
    expect(plan(carriedOut(given, result))).toEqual({ placements: [], claims: [], refusals: [] });
  });

  test("keep to limits.nodes, counting nodes on their way out, and say what is missing", () => {
    const limits = new Map([["nodes", 2n * ONE]]);
    const leaving = node("old", BOX, { pool: "f", leaving: true });
    const result = plan(world(free(3), tenant("a", { pools: [fixed(3, { limits })], nodes: [leaving] })));
    expect(result.claims.length).toBe(1);
    expect(result.refusals).toEqual([
      { tenant: "acme.a", pods: [], pools: [], reason: "pool f: 2 of its 3 machines are missing: 3 over the pool's limit of nodes" },
    ]);
  });

  test("pods use what they have, and never add to them", () => {
    const pods = [0, 1, 2].map((n) => pod(`x${n}`, { gpu: 8 }));
    const result = plan(world(free(3), tenant("a", { pools: [fixed(2)], pods })));
    expect([podsOn(result, "m0"), podsOn(result, "m1")]).toEqual([["x0"], ["x1"]]);
    expect(result.placements.every((one) => one.planned)).toBe(true);
    expect(result.refusals.map((one) => one.pods)).toEqual([["default/x2"]]);
  });

  test("leave alone what another tenant owns and does not lend, and a warm floor", () => {
    const owner = tenant("b", { quota: { nominal: 2, lend: 0 } });
    expect(machinesOf(world(free(3), tenant("a", { pools: [fixed(3)] }), owner))).toEqual(["m0"]);
    const floors = [{ machineClass: "any", selector: {}, count: 1 }];
    expect(machinesOf({ ...world(free(3), tenant("a", { pools: [fixed(3)] })), floors })).toEqual(["m0", "m1"]);
  });

  test("two tenants take turns", () => {
    const result = plan(world(free(4), tenant("a", { pools: [fixed(4)] }), tenant("b", { pools: [fixed(4)] })));
    expect(result.claims.map((one) => one.tenant)).toEqual(["acme.a", "acme.b", "acme.a", "acme.b"]);
  });

  test("a machine it names, and no other", () => {
    const named = fixed(2, { requirements: [{ key: "kubernetes.io/hostname", operator: "In", values: ["m2"] }] });
    expect(machinesOf(world(free(3), tenant("a", { pools: [named] })))).toEqual(["m2"]);
  });

  test("nodes beyond its size go, the empty first; neither budgets nor being empty matter otherwise", () => {
    const busy = [{ key: "default/p", labels: {}, priority: 0, needs: pod("p", { gpu: 8 }).needs }];
    const nodes = ["n1", "n2", "n3"].map((name) =>
      node(name, BOX, { pool: "f", machine: name, ageS: 9_000, emptyForS: 9_000, pods: name === "n1" ? busy : [] }),
    );
    const disruption = { policy: "WhenEmpty", consolidateAfterS: 0, budgets: [{ nodes: "0" }] } as const;
    const gone = (replicas: number) =>
      disruptions(world([], tenant("a", { pools: [fixed(replicas, { disruption })], nodes }))).now.flatMap((one) => one.nodes);
    expect([gone(3), gone(2), gone(1), gone(0)]).toEqual([[], ["n2"], ["n2", "n3"], ["n2", "n3", "n1"]]);
  });

  test("one that expires in the same round is none beyond its size", () => {
    const nodes = ["n1", "n2", "n3"].map((name) =>
      node(name, BOX, { pool: "f", machine: name, ageS: 9_000, ...(name === "n2" ? { expireAfterS: 60 } : {}) }),
    );
    const disruption = { policy: "WhenEmpty", consolidateAfterS: "never", budgets: [] } as const;
    const { now } = disruptions(world([], tenant("a", { pools: [fixed(2, { disruption })], nodes })));
    expect(now.map(({ reason, nodes }) => `${reason} ${nodes}`)).toEqual(["Expired n2"]);
  });

  test("law: never beyond its size or the machines there are, and a plan carried out wants nothing more", () => {
    const count = fc.integer({ min: 0, max: 5 });
    fc.assert(
      fc.property(count, count, count, (machines, a, b) => {
        const given = world(free(machines), tenant("a", { pools: [fixed(a)] }), tenant("b", { pools: [fixed(b)] }));
        const result = plan(given);
        expect(new Set(result.claims.map((one) => one.machine)).size).toBe(Math.min(machines, a + b));
        expect(result.claims.filter((one) => one.tenant === "acme.a").length).toBeLessThanOrEqual(a);
        expect(plan(carriedOut(given, result)).claims).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

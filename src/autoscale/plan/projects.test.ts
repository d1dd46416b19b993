import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { plan } from "./plan.ts";
import { worlds } from "./tenants.fixture.ts";
import type { Project, World } from "./world.ts";
import { machine, node, pod, sized, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
const GPU = "nvidia.com/gpu";

function team(limits: Record<string, number>, more: Partial<Project> = {}): Project {
  return { name: "team", limits: new Map(Object.entries(limits)), ...more };
}

/** Two tenants of a project and one of another, each with as many pods as given that fill a machine. */
function three(project: Project, wants: readonly [number, number, number], held: readonly [number, number] = [0, 0]): World {
  const of = (name: string, count: number, nodes: number, more = {}) =>
    tenant(name, {
      pods: Array.from({ length: count }, (_, n) => pod(`${name}${n}`, { gpu: 8 })),
      nodes: Array.from({ length: nodes }, (_, n) =>
        node(`${name}-${n}`, BOX, { pool: "p", machine: `${name}-${n}`, used: new Map([[GPU, 8_000_000_000n]]) }),
      ),
      ...more,
    });
  const free = Array.from({ length: 12 }, (_, n) => machine(`m${n}`, BOX));
  return {
    ...world(free, of("a", wants[0], held[0], { project: "team" }), of("b", wants[1], held[1], { project: "team" }), of("c", wants[2], 0)),
    projects: [project],
  };
}

/** Machines claimed, by tenant. */
function claimed(of: World): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { tenant: name } of plan(of).claims) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe("the tenants of a project together", () => {
  test("hold no more nodes, or GPUs, than it may; others are not bound by it", () => {
    expect(claimed(three(team({ machines: 3 }), [4, 4, 4]))).toEqual({ "acme.a": 2, "acme.b": 1, "acme.c": 4 });
    expect(claimed(three(team({ [GPU]: 20 }), [4, 4, 4]))).toEqual({ "acme.a": 1, "acme.b": 1, "acme.c": 4 });
    expect(claimed(three(team({ machines: 5, [GPU]: 1_000 }), [1, 9, 0], [2, 1]))).toEqual({ "acme.a": 1, "acme.b": 1 });
    expect(claimed(three(team({}), [2, 2, 0]))).toEqual({ "acme.a": 2, "acme.b": 2 });
  });

  test("nodes of tenants that sleep count", () => {
    const asleep = team({ machines: 3 }, { elsewhere: [sized(BOX), sized(BOX)] });
    expect(claimed(three(asleep, [2, 2, 0]))).toEqual({ "acme.a": 1 });
  });

  test("a refusal names the project, what is used, and what would help", () => {
    const { refusals } = plan(three(team({ [GPU]: 16 }), [1, 0, 0], [1, 1]));
    expect(refusals[0]?.reason).toContain("quota of project team: 16 of 16 nvidia.com/gpu used by its tenants, 8 more wanted");
    expect(refusals[0]?.hint).toBe("a quota of project team that is 8 nvidia.com/gpu higher");
  });

  test("a quota of a tenant's own holds within it, and neither widens the other", () => {
    const base = three(team({ machines: 3 }), [4, 4, 0]);
    const quota = { nominal: 4 };
    const of = { ...base, tenants: base.tenants.map((one) => (one.tenant === "acme.a" ? { ...one, quota } : one)) };
    expect(claimed(of)).toEqual({ "acme.a": 3 });
    const small = {
      ...base,
      tenants: base.tenants.map((one) => (one.tenant === "acme.a" ? { ...one, quota: { nominal: 0, borrow: 1 } } : one)),
    };
    expect(claimed(small)).toEqual({ "acme.a": 1, "acme.b": 2 });
  });
});

test("whatever tenants want, own, lend and take back: no plan makes a project hold more than it may", () => {
  fc.assert(
    fc.property(worlds, fc.nat(6), fc.boolean(), (any, limit, byGpu) => {
      const limits = byGpu ? new Map([[GPU, limit * 8]]) : new Map([["machines", limit]]);
      const of: World = { ...any, projects: [{ name: "team", limits }], tenants: any.tenants.map((one) => ({ ...one, project: "team" })) };
      const held = of.tenants.reduce((sum, one) => sum + one.nodes.length, 0);
      expect(plan(of).claims.length).toBeLessThanOrEqual(Math.max(0, limit - held));
    }),
    { numRuns: 300 },
  );
});

test("where the project has room for all, its quota changes nothing", () => {
  fc.assert(
    fc.property(worlds, (any) => {
      const projects = [{ name: "team", limits: new Map([["machines", 1_000]]) }];
      const of: World = { ...any, projects, tenants: any.tenants.map((one) => ({ ...one, project: "team" })) };
      expect(plan(of).claims).toEqual(plan(any).claims);
    }),
    { numRuns: 100 },
  );
});

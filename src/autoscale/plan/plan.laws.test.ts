import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { add, parseResources, shortOf } from "../../core/quantity.ts";
import { FEW, lossesOf } from "./growth.fixture.ts";
import { plan } from "./plan.ts";
import type { TenantWorld, World } from "./world.ts";
import { carriedOut, machine, needs, node, pod, pool, taint, tenant } from "./worlds.fixture.ts";

const sizes = fc.constantFrom({ cpu: 8, memory: 32 }, { cpu: 16, memory: 64, gpu: 2 }, { cpu: 64, memory: 512, gpu: 8 });
const zones = fc.constantFrom("eu", "us");

const machines = fc.array(fc.tuple(sizes, zones, fc.boolean()), { maxLength: 8 }).map((list) =>
  list.map(([size, zone, busy], n) =>
    machine(`m${n}`, size, {
      nodeLabels: { zone, "kubernetes.io/hostname": `m${n}` },
      ...(busy && n % 3 === 0 ? { unavailable: "in use" } : {}),
    }),
  ),
);

const podKind = fc.record({
  size: fc.record({ cpu: fc.constantFrom(1, 3, 7), memory: fc.constantFrom(1, 9), gpu: fc.constantFrom(0, 0, 1, 2, 3, 5) }),
  zone: fc.option(zones),
  tier: fc.option(fc.constantFrom("gold", "bronze"), { nil: null }),
  tolerant: fc.boolean(),
  port: fc.boolean(),
  priority: fc.constantFrom(0, 0, 10),
  count: fc.integer({ min: 1, max: 4 }),
});

function tenantOf(name: string): fc.Arbitrary<TenantWorld> {
  const pools = fc.array(
    fc.record({
      limit: fc.option(fc.constantFrom(1, 8, 12)),
      tiers: fc.option(fc.constantFrom(["gold"], ["gold", "bronze"])),
      tainted: fc.boolean(),
      shared: fc.boolean(),
    }),
    { maxLength: 3 },
  );
  const nodes = fc.array(fc.record({ size: sizes, up: fc.boolean(), leaving: fc.boolean(), zone: zones, used: fc.constantFrom(0, 1, 4) }), {
    maxLength: 3,
  });
  return fc.tuple(pools, fc.array(podKind, { maxLength: 6 }), nodes, fc.boolean()).map(([poolList, kinds, nodeList, daemon]) =>
    tenant(name, {
      pools: poolList.map(({ limit, tiers, tainted, shared }, n) =>
        pool(`${name}-p${n}`, {
          weight: n % 2,
          limits: limit === null ? new Map() : parseResources({ "nvidia.com/gpu": limit }),
          requirements: tiers === null ? [] : [{ key: "tier", operator: "In", values: tiers }],
          taints: tainted ? [taint("dedicated")] : [],
          plainPodsOnAccelerators: shared,
        }),
      ),
      nodes: nodeList.map(({ size, up, leaving, zone, used }, n) =>
        node(`${name}-n${n}`, size, {
          pool: `${name}-p0`,
          initialized: up,
          leaving,
          labels: { zone },
          used: parseResources({ cpu: used, pods: used }),
        }),
      ),
      daemons: daemon ? [{ name: "kube-system/agent", needs: needs({ cpu: 1 }) }] : [],
      pods: kinds.flatMap(({ size, zone, tier, tolerant, port, priority, count }, k) =>
        Array.from({ length: count }, (_, n) => {
          const term = [
            ...(zone === null ? [] : [{ key: "zone", operator: "In" as const, values: [zone] }]),
            ...(tier === null ? [] : [{ key: "tier", operator: "In" as const, values: [tier] }]),
          ];
          const more = {
            terms: [term],
            tolerations: tolerant ? [{ operator: "Exists" }] : [],
            hostPorts: port ? [{ ip: "", port: 80, protocol: "TCP" }] : [],
          };
          return pod(`${name}-${k}-${n}`, size, more, { priority });
        }),
      ),
    }),
  );
}

const worlds: fc.Arbitrary<World> = fc
  .tuple(machines, tenantOf("a"), tenantOf("b"))
  .map(([list, a, b]) => ({ machines: list, tenants: [a, b] }));

function shuffled<T>(list: readonly T[], seed: number): T[] {
  return list
    .map((one, n) => ({ one, at: (n * 7919 + seed * 104729) % 1009 }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one);
}

const RUNS = { numRuns: 300 };

describe("laws of every plan", () => {
  test("the order of the world does not matter", () => {
    fc.assert(
      fc.property(worlds, fc.nat(1_000), (world, seed) => {
        const other: World = {
          machines: shuffled(world.machines, seed),
          tenants: shuffled(world.tenants, seed).map((one) => ({
            ...one,
            pods: shuffled(one.pods, seed),
            pools: shuffled(one.pools, seed),
            nodes: shuffled(one.nodes, seed),
          })),
        };
        expect(plan(other)).toEqual(plan(world));
      }),
      RUNS,
    );
  });

  test("no machine is in two claims, none that is not free, and no claim is without pods", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { claims, placements } = plan(world);
        const names = claims.map((claim) => claim.machine);
        expect(new Set(names).size).toBe(names.length);
        for (const claim of claims) {
          expect(world.machines.find((one) => one.name === claim.machine)?.unavailable).toBeUndefined();
          expect(placements.some((one) => one.planned && one.node === claim.machine && one.pods.length > 0)).toBe(true);
        }
      }),
      RUNS,
    );
  });

  test("a plan carried out and planned again is empty, and places the same pods on the same nodes", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const first = plan(world);
        const again = plan(carriedOut(world, first));
        expect(again.claims).toEqual([]);
        const where = (of: typeof first) =>
          of.placements.map(({ tenant: owner, node: name, pods }) => ({ owner, name, pods: [...pods].sort() }));
        expect(where(again).sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual(where(first).sort((a, b) => (a.name < b.name ? -1 : 1)));
      }),
      RUNS,
    );
  });

  test("no pool is over its limits, no node over what it has, every pod in exactly one place", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const result = plan(world);
        for (const one of world.tenants) {
          for (const each of one.pools) {
            if (each.limits.size === 0) continue;
            const claims = result.claims.filter((claim) => claim.pool === each.name);
            const before = one.nodes.filter((n) => n.pool === each.name).map((n) => n.capacity);
            if (claims.length > 0)
              expect(
                shortOf(
                  each.limits,
                  new Map([...add(...before, ...claims.map((c) => c.capacity))].filter(([name]) => each.limits.has(name))),
                ),
              ).toEqual([]);
          }
          const said = [
            ...result.placements.filter((p) => p.tenant === one.tenant),
            ...result.refusals.filter((r) => r.tenant === one.tenant),
          ].flatMap((p) => p.pods);
          expect([...said].sort()).toEqual(one.pods.map((p) => p.key).sort());
        }
        for (const placement of result.placements) {
          const owner = world.tenants.find((one) => one.tenant === placement.tenant);
          const site = owner?.nodes.find((n) => n.name === placement.node && !placement.planned);
          const has = site?.allocatable ?? world.machines.find((m) => m.name === placement.node)?.allocatable ?? new Map();
          const wants = placement.pods.map((key) => owner?.pods.find((p) => p.key === key)?.needs.requests ?? new Map());
          expect(shortOf(has, add(site?.used ?? new Map(), ...wants))).toEqual([]);
          expect(site?.leaving ?? false).toBe(false);
        }
      }),
      RUNS,
    );
  });

  test("one more free machine costs nobody a place but in favour of who comes before", () => {
    expect(lossesOf(worlds).length).toBeLessThanOrEqual(FEW);
  });

  test("every refusal has a reason", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        for (const refusal of plan(world).refusals) {
          expect(refusal.reason).not.toBe("");
          expect(refusal.reason).not.toContain("only after this plan");
        }
      }),
      RUNS,
    );
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import type { NodeSupply, PodNeeds, World } from "../plan/index.ts";
import { plan } from "../plan/index.ts";
import { machine, node, pod, pool, type Size, tenant } from "../plan/worlds.fixture.ts";
import { carriedOut } from "./aftermath.ts";
import { decide } from "./decide.ts";

const ZONE = "topology.kubernetes.io/zone";
const HOST = "kubernetes.io/hostname";
const SIZE: Size = { cpu: 16, memory: 64 };

const zones = fc.constantFrom("a", "b");
const apps = fc.constantFrom("x", "y", "z");

const kind = fc.record({
  app: apps,
  cpu: fc.constantFrom(1, 2, 5),
  count: fc.integer({ min: 1, max: 5 }),
  wish: fc.constantFrom("none", "spread", "affinity", "anti", "port", "volume", "zone"),
  level: fc.constantFrom(ZONE, HOST),
  of: apps,
  zone: zones,
  short: fc.boolean(),
});

type Kind = typeof kind extends fc.Arbitrary<infer T> ? T : never;

function wants({ wish, level, of, zone }: Kind): Partial<PodNeeds> {
  const selector = { matchLabels: { app: of } };
  const there = [{ key: ZONE, operator: "In" as const, values: [zone] }];
  switch (wish) {
    case "spread":
      return { spread: [{ key: level, maxSkew: 1, hard: true, selector }] };
    case "affinity":
      return { affinity: [{ key: level, selector }] };
    case "anti":
      return { antiAffinity: [{ key: level, selector }] };
    case "port":
      return { hostPorts: [{ ip: "", port: 80, protocol: "TCP" }] };
    case "volume":
      return { volumes: [[there]] };
    case "zone":
      return { terms: [there] };
    default:
      return {};
  }
}

/** Nodes on which everything found its place once, and of which some pods have gone since; machines that are free cost less. */
const worlds: fc.Arbitrary<World> = fc
  .record({
    nodes: fc.array(zones, { minLength: 2, maxLength: 6 }),
    free: fc.array(zones, { maxLength: 2 }),
    kinds: fc.array(kind, { minLength: 1, maxLength: 5 }),
    gone: fc.array(fc.boolean(), { minLength: 25, maxLength: 25 }),
    dear: fc.boolean(),
    window: fc.boolean(),
  })
  .map(({ nodes, free, kinds, gone, dear, window }): World => {
    const age = { ageS: 3_600, quietForS: 3_600, emptyForS: 3_600, ...(dear ? { cost: 3 } : {}) };
    const disruption = { policy: "WhenEmptyOrUnderutilized" as const, consolidateAfterS: 0, budgets: [{ nodes: "100%" }] };
    const once: World = {
      now: 0,
      policy: { turnaroundS: 600 },
      ...(window
        ? { windows: [{ name: "w", tenant: "acme.b", selector: { [ZONE]: "a" }, count: 2, startsInS: 3_600, endsInS: 7_200 }] }
        : {}),
      machines: [
        ...nodes.map((zone, n) => machine(`n${n}`, SIZE, { nodeLabels: { [HOST]: `n${n}`, [ZONE]: zone }, unavailable: "in use" })),
        ...free.map((zone, n) => machine(`free${n}`, SIZE, { nodeLabels: { [HOST]: `free${n}`, [ZONE]: zone }, unavailable: "not yet" })),
      ],
      tenants: [
        tenant("t", {
          pools: [pool("p", { disruption })],
          nodes: nodes.map((zone, n) =>
            node(`n${n}`, SIZE, { pool: "p", machine: `n${n}`, labels: { [HOST]: `n${n}`, [ZONE]: zone }, pods: [], ...age }),
          ),
          pods: kinds.flatMap((one, k) =>
            Array.from({ length: one.count }, (_, n) =>
              pod(`${k}-${n}`, { cpu: one.cpu }, wants(one), { labels: { app: one.app }, ...(one.short ? { maxRuntimeS: 1_000 } : {}) }),
            ),
          ),
        }),
      ],
    };
    const seated = carriedOut(once, { plan: plan(once) });
    let nth = 0;
    return {
      ...seated,
      machines: seated.machines.map(({ unavailable, ...one }) =>
        unavailable === "not yet" || unavailable === undefined ? one : { ...one, unavailable },
      ),
      tenants: seated.tenants.map((one) => ({
        ...one,
        pods: [],
        nodes: one.nodes.map((each) => without(each, () => gone[nth++ % gone.length] === true)),
      })),
    };
  });

function without(one: NodeSupply, isGone: () => boolean): NodeSupply {
  const pods = (one.pods ?? []).filter(() => !isGone());
  const used = new Map<string, bigint>();
  for (const { needs } of pods) for (const [name, amount] of needs.requests) used.set(name, (used.get(name) ?? 0n) + amount);
  return { ...one, pods, used, hostPorts: pods.flatMap(({ needs }) => needs.hostPorts), quietForS: 3_600, emptyForS: 3_600 };
}

test("consolidation never makes a pod pending, whatever it wants of its neighbours: the planner itself finds them all a place", () => {
  const moved: Record<string, number> = {};
  fc.assert(
    fc.property(worlds, (given) => {
      const decision = decide(given, true);
      const going = decision.disruptions?.now ?? [];
      const after = carriedOut(given, decision);
      const none = { ...after, machines: after.machines.map((one) => ({ ...one, unavailable: "in use" })) };
      expect(plan(none).refusals).toEqual([]);
      const victims = new Set(going.flatMap(({ pods }) => pods));
      for (const one of given.tenants[0]?.nodes.flatMap(({ pods = [] }) => pods) ?? [])
        if (victims.has(one.key))
          for (const wish of ["spread", "affinity", "antiAffinity", "volumes"] as const)
            if (one.needs[wish]) moved[wish] = (moved[wish] ?? 0) + 1;
    }),
    { numRuns: 400 },
  );
  expect(Object.keys(moved).sort()).toEqual(["affinity", "antiAffinity", "spread", "volumes"]);
});

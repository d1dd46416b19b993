import { describe, expect, test } from "vitest";
import { plan } from "./plan.ts";
import type { MachineSupply, NodeSupply, PendingPod, PodNeeds, PodTerm, RunningPod, Spread, World } from "./world.ts";
import { carriedOut, machine, needs, node, pod, podsOn, pool, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 16, memory: 64 };
const APP = { matchLabels: { app: "w" } };
const ZONE = "topology.kubernetes.io/zone";
const HOST = "kubernetes.io/hostname";

const inZone = (name: string, zone: string, size = BOX): MachineSupply =>
  machine(name, size, { nodeLabels: { [HOST]: name, [ZONE]: zone } });
const nodeIn = (name: string, zone: string, more: Partial<NodeSupply> = {}): NodeSupply =>
  node(name, BOX, { labels: { [HOST]: name, [ZONE]: zone }, ...more });
const running = (key: string, more: Partial<PodNeeds> = {}, labels: Record<string, string> = { app: "w" }): RunningPod => ({
  key: `default/${key}`,
  labels,
  priority: 0,
  needs: needs({ cpu: 1 }, more),
});
const apps = (count: number, more: Partial<PodNeeds>, cpu = 1): PendingPod[] =>
  Array.from({ length: count }, (_, n) => pod(`w${n}`, { cpu }, more, { labels: { app: "w" } }));
const spread = (more: Partial<Spread> = {}): Spread => ({ key: ZONE, maxSkew: 1, hard: true, selector: APP, ...more });
const near = (key: string): PodTerm => ({ key, selector: APP });

function byZone(before: World): Record<string, number> {
  const zones: Record<string, number> = {};
  const zoneOf = new Map(before.machines.map((one) => [one.name, one.nodeLabels[ZONE]]));
  for (const one of before.tenants.flatMap((each) => each.nodes)) zoneOf.set(one.name, one.labels[ZONE]);
  for (const { node: name, pods } of plan(before).placements) {
    const zone = zoneOf.get(name) ?? "none";
    zones[zone] = (zones[zone] ?? 0) + pods.length;
  }
  return zones;
}
const pending = (before: World) => plan(before).refusals.reduce((sum, one) => sum + one.pods.length, 0);

describe("spread", () => {
  const three = ["a", "b", "c"].map((zone) => inZone(`m-${zone}`, zone));

  test("pods are spread over the zones there are, and a plan carried out is empty", () => {
    const before = world(three, tenant("a", { pods: apps(7, { spread: [spread()] }) }));
    expect(Object.values(byZone(before)).sort()).toEqual([2, 2, 3]);
    expect(plan(carriedOut(before, plan(before))).claims).toEqual([]);
  });

  test("pods that run count, and only those on nodes the pod could use", () => {
    const nodes = [nodeIn("n-a", "a", { pods: [running("r1"), running("r2")] })];
    const rest = [inZone("m-b", "b")];
    expect(byZone(world(rest, tenant("a", { nodes, pods: apps(2, { spread: [spread()] }) })))).toEqual({ b: 2 });
    const elsewhere = [[{ key: ZONE, operator: "In" as const, values: ["b"] }]];
    expect(byZone(world(rest, tenant("a", { nodes, pods: apps(5, { terms: elsewhere, spread: [spread()] }) })))).toEqual({ b: 5 });
    const ignoring = apps(5, { terms: elsewhere, spread: [spread({ nodeAffinityPolicy: "Ignore" })] });
    expect(byZone(world(rest, tenant("a", { nodes, pods: ignoring })))).toEqual({ b: 3 });
  });

  test("a zone nobody can have a machine in does not hold the others back", () => {
    const gone = { ...inZone("m-c", "c"), unavailable: "in use" };
    expect(pending(world([...three.slice(0, 2), gone], tenant("a", { pods: apps(6, { spread: [spread()] }) })))).toBe(0);
  });

  test("over hosts: a host each while there are any, then evenly over all", () => {
    const machines = ["m1", "m2"].map((name) => inZone(name, "a"));
    const over = { spread: [spread({ key: HOST })] };
    const result = plan(world(machines, tenant("a", { pods: apps(4, over) })));
    expect(result.placements.map((one) => one.pods.length)).toEqual([2, 2]);
    expect(plan(world([...machines, inZone("m3", "a")], tenant("a", { pods: apps(3, over) }))).claims).toHaveLength(3);
  });

  test("tainted nodes are domains unless the pod says otherwise", () => {
    const nodes = [nodeIn("n-a", "a", { taints: [{ key: "x", effect: "NoSchedule" }] })];
    const go = (more: Partial<Spread>) =>
      pending(world([inZone("m-b", "b")], tenant("a", { nodes, pods: apps(3, { spread: [spread(more)] }) })));
    expect([go({}), go({ nodeTaintsPolicy: "Honor" })]).toEqual([2, 0]);
  });

  test("a soft one buys no server", () => {
    const before = world(three, tenant("a", { pods: apps(6, { spread: [spread({ hard: false })] }) }));
    expect(plan(before).claims).toHaveLength(1);
    expect(plan({ ...before, policy: { preferences: "respect" } }).claims).toHaveLength(3);
  });
});

describe("affinity", () => {
  test("pods that follow others wait for them, whatever the order", () => {
    const lead = pod("lead", { cpu: 1 }, {}, { labels: { app: "w" } });
    const follower = pod("follower", { cpu: 15 }, { affinity: [near(ZONE)] });
    const machines = [inZone("m-a", "a"), inZone("m-b", "b"), inZone("m-b2", "b")];
    const result = plan(world(machines, tenant("a", { pods: [follower, lead] })));
    expect(result.refusals).toEqual([]);
    const zones = result.claims.map((one) => one.labels[ZONE]);
    expect(new Set(zones).size).toBe(1);
    expect(pending(world(machines, tenant("a", { pods: [follower] })))).toBe(1);
  });

  test("a batch that keeps together goes where all of it fits, other sizes included", () => {
    const machines = [inZone("m-a", "a"), ...["m-b1", "m-b2", "m-b3"].map((name) => inZone(name, "b"))];
    const pods = [
      ...apps(2, { affinity: [near(ZONE)] }, 12),
      pod("small", { cpu: 9 }, { affinity: [near(ZONE)] }, { labels: { app: "w" } }),
    ];
    expect(byZone(world(machines, tenant("a", { pods })))).toEqual({ b: 3 });
  });

  test("other namespaces are looked at only when the term names or selects them", () => {
    const nodes = [nodeIn("n", "a", { pods: [{ ...running("r"), key: "other/r" }] })];
    const go = (term: Partial<PodTerm>) =>
      pending(
        world(
          [],
          tenant("a", {
            nodes,
            namespaces: { other: { team: "x" } },
            pods: [pod("p", { cpu: 1 }, { affinity: [{ ...near(ZONE), ...term }] })],
          }),
        ),
      );
    expect([
      go({}),
      go({ namespaces: ["other"] }),
      go({ namespaceSelector: { matchLabels: { team: "x" } } }),
      go({ namespaceSelector: { matchLabels: { team: "y" } } }),
      go({ namespaceSelector: {} }),
    ]).toEqual([1, 0, 0, 1, 0]);
  });
});

describe("anti-affinity", () => {
  test("both ways: newcomers keep away from who runs, and who runs keeps newcomers away", () => {
    const loud = pod("loud", { cpu: 1 }, {}, { labels: { app: "loud" } });
    const shy = running("shy", { antiAffinity: [{ key: ZONE, selector: { matchLabels: { app: "loud" } } }] });
    const machines = [inZone("m-b", "b")];
    const result = plan(world(machines, tenant("a", { nodes: [nodeIn("n-a", "a", { pods: [shy] })], pods: [loud] })));
    expect(podsOn(result, "m-b")).toEqual(["loud"]);
    const newcomer = pod("n", { cpu: 1 }, { antiAffinity: [near(ZONE)] });
    const other = plan(world(machines, tenant("a", { nodes: [nodeIn("n-a", "a", { pods: [running("r")] })], pods: [newcomer] })));
    expect(podsOn(other, "m-b")).toEqual(["n"]);
  });

  test("a kind that keeps away from another does so within one plan", () => {
    const pods = [
      pod("a", { cpu: 1 }, { antiAffinity: [{ key: HOST, selector: { matchLabels: { app: "loud" } } }] }),
      pod("loud", { cpu: 1 }, {}, { labels: { app: "loud" } }),
    ];
    expect(plan(world([inZone("m1", "a"), inZone("m2", "a")], tenant("a", { pods }))).claims).toHaveLength(2);
    expect(pending(world([inZone("m1", "a")], tenant("a", { pods })))).toBe(1);
  });

  test("zone by zone, one each in one pass", () => {
    const machines = ["a", "b", "c"].map((zone) => inZone(`m-${zone}`, zone));
    const result = plan(world(machines, tenant("a", { pods: apps(4, { antiAffinity: [near(ZONE)] }) })));
    expect([result.claims.length, result.refusals[0]?.pods.length]).toEqual([3, 1]);
  });
});

describe("what else decides", () => {
  test("volumes are where they are, and no part of what a spread looks at", () => {
    const volumes = [
      [[{ key: ZONE, operator: "In" as const, values: ["a", "b"] }], [{ key: ZONE, operator: "In" as const, values: ["c"] }]],
    ];
    const machines = ["b", "d"].map((zone) => inZone(`m-${zone}`, zone));
    expect(byZone(world(machines, tenant("a", { pods: apps(2, { volumes }) })))).toEqual({ b: 2 });
    expect(pending(world(machines.slice(1), tenant("a", { pods: apps(1, { volumes }) })))).toBe(1);
  });

  test("pods with gates wait, expendable ones buy nothing", () => {
    const machines = [inZone("m", "a")];
    const gated = plan(world(machines, tenant("a", { pods: [pod("g", { cpu: 1 }, {}, { gates: ["quota"] })] })));
    expect(gated.refusals[0]?.reason).toBe("waits for its scheduling gates: quota");
    const cheap = {
      ...world(machines, tenant("a", { pods: [pod("x", { cpu: 1 }, {}, { priority: -20 })] })),
      policy: { expendableBelow: -10 },
    };
    expect(plan(cheap).claims).toEqual([]);
    expect(plan(cheap).refusals[0]?.reason).toContain("expendable");
  });

  test("minValues wants several values to choose from among the free machines that would do", () => {
    const type = "node.kubernetes.io/instance-type";
    const of = (name: string) => machine(name, { cpu: 8, memory: 32 }, { nodeLabels: { "kubernetes.io/hostname": name, [type]: name } });
    const choosy = pool("p", { requirements: [{ key: type, operator: "Exists", minValues: 2 }] });
    const one = tenant("a", { pools: [choosy], pods: [pod("x", { cpu: 1 })] });
    expect(plan(world([of("m1"), of("m2")], one)).claims).toHaveLength(1);
    const few = plan(world([of("m1")], one));
    expect(few.claims).toEqual([]);
    expect(few.refusals[0]?.reason).toContain(`minValues: 1 of 2 values of ${type}`);
    expect(plan({ ...world([of("m1")], one), policy: { minValues: "BestEffort" } }).claims).toHaveLength(1);
  });

  test("a catalog has as many machines as anybody wants, and the smallest that will do", () => {
    const catalog = [machine("large", { cpu: 64, memory: 256 }), machine("small", { cpu: 16, memory: 64 })];
    const result = plan({ machines: [], catalog, tenants: [tenant("a", { pods: apps(3, { antiAffinity: [near(HOST)] }) })] });
    expect(result.claims.map((one) => one.machine).sort()).toEqual(["small-1", "small-2", "small-3"]);
  });

  test("a pod that asks for more than can be counted is refused, others go on", () => {
    const pods = [pod("greedy", { cpu: 1 }, { requests: new Map([["cpu", 10n ** 30n]]) }), pod("ok", { cpu: 1 })];
    const result = plan(world([inZone("m", "a")], tenant("a", { pods })));
    expect(podsOn(result, "m")).toEqual(["ok"]);
    expect(result.refusals[0]?.reason).toContain("too small (cpu)");
  });

  test("what the work budget does not reach comes in the next round, and other tenants go on", () => {
    const nodes = Array.from({ length: 40 }, (_, n) => nodeIn(`n${n}`, "a"));
    const many = Array.from({ length: 60 }, (_, n) => pod(`p${n}`, { cpu: 17 }, {}, { priority: n }));
    const result = plan({
      ...world([inZone("m", "a")], tenant("a", { nodes, pods: many }), tenant("b", { pods: [pod("x", { cpu: 1 })] })),
      policy: { work: 20 },
    });
    expect(result.rest?.map((one) => one.tenant)).toEqual(["acme.a"]);
    expect(result.claims.map((one) => one.tenant)).toEqual(["acme.b"]);
  });

  test("a thousand affinity terms neither stall nor starve", () => {
    const terms = Array.from({ length: 1_000 }, (_, n) => ({ key: ZONE, selector: { matchLabels: { app: `x${n}` } } }));
    const pods = [...Array.from({ length: 10 }, (_, n) => pod(`bomb${n}`, { cpu: 1 }, { antiAffinity: terms })), pod("ok", { cpu: 1 })];
    expect(pending(world([inZone("m", "a")], tenant("a", { pods, pools: [pool("p")] })))).toBe(0);
  });
});

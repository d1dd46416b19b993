import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sum } from "../../core/quantity.ts";
import { disruptions } from "./disrupt.ts";
import { plan } from "./plan.ts";
import type { NodeSupply, PoolDisruption, RunningPod, World } from "./world.ts";
import { machine, needs, node, pod, pool, tenant, world } from "./worlds.fixture.ts";

const SIZE = { cpu: 16, memory: 64 };
const FREELY: PoolDisruption = { policy: "WhenEmptyOrUnderutilized", consolidateAfterS: 0, budgets: [] };

function running(name: string, cpu: number, more: Partial<RunningPod> = {}): RunningPod {
  return { key: `default/${name}`, labels: {}, priority: 0, needs: needs({ cpu, memory: 1 }), ageS: 3_600, ...more };
}

function up(name: string, pods: readonly RunningPod[] = [], more: Partial<NodeSupply> = {}): NodeSupply {
  const used = sum(pods.map((one) => one.needs.requests));
  return node(name, SIZE, { pool: "p", machine: name, pods, used, ageS: 3_600, quietForS: 3_600, emptyForS: 3_600, ...more });
}

function of(nodes: readonly NodeSupply[], disruption: Partial<PoolDisruption> = {}, more: Partial<World> = {}): World {
  const own = nodes.map((one) => machine(one.name, SIZE, { unavailable: "in use" }));
  const one = tenant("a", { nodes, pools: [pool("p", { disruption: { ...FREELY, ...disruption } })] });
  return { ...world(own, one), ...more };
}

const said = (of: World) => disruptions(of).now.map((one) => `${one.reason} ${one.how} ${one.nodes.join("+")}`);

describe("empty nodes", () => {
  test("are given back consolidateAfter after the last pod event, and it is said when", () => {
    const due = { consolidateAfterS: 300 };
    expect(said(of([up("n1", [], { emptyForS: 301 })], due))).toEqual(["Empty delete n1"]);
    const early = disruptions(of([up("n1", [], { emptyForS: 290 })], due));
    expect([early.now, early.nextInS]).toEqual([[], 10]);
    expect(said(of([up("n1")], { consolidateAfterS: "never" }))).toEqual([]);
  });

  test.each<[string, Partial<NodeSupply>]>([
    ["is not initialised", { initialized: false }],
    ["is leaving already", { leaving: true }],
    ["was asked to be left alone", { doNotDisrupt: true }],
    ["belongs to a pool nobody knows", { pool: "other" }],
  ])("not one that %s", (_name, more) => {
    expect(said(of([up("n1", [], more)]))).toEqual([]);
  });

  test("not one a waiting pod is expected on", () => {
    const { tenants, ...rest } = of([up("n1")]);
    const wanted = { ...rest, tenants: tenants.map((one) => ({ ...one, pods: [pod("x", { cpu: 1, memory: 1 })] })) };
    expect(said(wanted)).toEqual([]);
  });

  test("the longest empty goes first within the budget, and what keeps the others is said", () => {
    const found = disruptions(of([up("n1", [], { emptyForS: 40 }), up("n2", [], { emptyForS: 90 })], { budgets: [{ nodes: "1" }] }));
    expect(found.now.map((one) => one.nodes)).toEqual([["n2"]]);
    expect(found.held).toEqual([{ tenant: "acme.a", node: "n1", reason: "the pool's disruption budget (1 of 2 nodes)" }]);
  });
});

describe("under-utilised nodes", () => {
  test("a machine is kept at least as long as it takes to get one", () => {
    const young = [up("n1", [running("a", 2)], { ageS: 60 }), up("n2", [running("b", 2)], { ageS: 60 })];
    expect(said(of(young))).toHaveLength(1);
    const slow = disruptions(of(young, {}, { policy: { turnaroundS: 600 } }));
    expect([slow.now, slow.nextInS]).toEqual([[], 540]);
  });

  test("a tenant that waits for machines is left alone", () => {
    const { tenants, ...rest } = of([up("n1", [running("a", 2)]), up("n2", [running("b", 2)])], {}, {});
    const busy = {
      ...rest,
      machines: [...rest.machines, machine("free", SIZE)],
      tenants: tenants.map((one) => ({ ...one, pods: [pod("x", { cpu: 15, memory: 1 })] })),
    };
    expect(said(busy)).toEqual([]);
  });

  test("a node where a gang runs is nobody's saving", () => {
    expect(said(of([up("n1", [running("a", 2, { gang: "g" })]), up("n2", [running("b", 15)])]))).toEqual([]);
  });

  test("Balanced: little saved for many disturbed is not worth it", () => {
    const crowd = Array.from({ length: 8 }, (_, nth) => running(`c${nth}`, 1));
    const nodes = [
      up("n1", crowd),
      up("n2", [running("b", 1)], { doNotDisrupt: true }),
      up("n3", [running("d", 15)], { doNotDisrupt: true }),
    ];
    expect(said(of(nodes))).toEqual(["Underutilized delete n1"]);
    const cheap = nodes.map((one) => ({ ...one, cost: one.name === "n1" ? 0.1 : 5 }));
    expect(said(of(cheap, { policy: "Balanced" }))).toEqual([]);
  });
});

test("an expired node goes, up or not, budget or not; then its time is said of the others", () => {
  const nodes = [up("n1", [running("a", 16)], { ageS: 500, initialized: false }), up("n2", [running("b", 16)], { ageS: 100 })];
  const found = disruptions(of(nodes, { expireAfterS: 400, budgets: [{ nodes: "0" }] }));
  expect(found.now.map((one) => `${one.reason} ${one.nodes}`)).toEqual(["Expired n1"]);
  expect(found.nextInS).toBe(300);
});

test("expired nodes of several tenants go in one order, whatever the world's", () => {
  const old = (name: string, node: string) =>
    tenant(name, { nodes: [up(node, [], { expireAfterS: 60 })], pools: [pool("p", { disruption: FREELY })] });
  const [a, b] = [old("a", "n1"), old("b", "n2")];
  expect(said(world([], b, a))).toEqual(said(world([], a, b)));
});

test("who has pods that were not read this round keeps what is empty", () => {
  const empty = of([up("n1")]);
  const unread = { ...plan(empty), rest: [{ tenant: "acme.a", pods: ["default/x"] }] };
  expect(disruptions(empty).now).toHaveLength(1);
  expect(disruptions(empty, unread).now).toEqual([]);
});

describe("in any world", () => {
  const rarely = fc.nat(7).map((nth) => nth === 7);
  const one = fc.record({
    pods: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 3 }),
    leaving: rarely,
    blocked: rarely,
    drifted: fc.boolean(),
    initialized: rarely.map((coming) => !coming),
  });
  const some = fc.array(one, { minLength: 1, maxLength: 5 });
  const nodesOf = (list: readonly (typeof one extends fc.Arbitrary<infer T> ? T : never)[]) =>
    list.map(({ pods, leaving, blocked, drifted, initialized }, n) =>
      up(
        `n${n}`,
        pods.map((cpu, m) => running(`p${n}-${m}`, cpu, blocked ? { blockedBy: "pdb" } : {})),
        { leaving, initialized, ...(drifted ? { drifted: "yes" } : {}) },
      ),
    );

  test("never more at once than the budget, whatever the order", () => {
    fc.assert(
      fc.property(some, fc.nat(4), (list, most) => {
        const nodes = nodesOf(list);
        const budgets = [{ nodes: String(most) }];
        const found = disruptions(of(nodes, { budgets }));
        const going = nodes.filter((node) => node.leaving).length;
        expect(found.now.flatMap((each) => each.nodes).length).toBeLessThanOrEqual(Math.max(0, most - going));
        expect(disruptions(of([...nodes].reverse(), { budgets }))).toEqual(found);
      }),
      { numRuns: 60 },
    );
  });

  /** Tenants with two pools each, pods that wait, and machines that are free; old nodes cost more than new ones. */
  const worlds = fc
    .tuple(
      fc.array(
        fc.record({
          nodes: fc.array(fc.record({ one, second: fc.boolean() }), { maxLength: 5 }),
          waiting: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 2 }),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      fc.nat(3),
      fc.boolean(),
    )
    .map(([list, free, dear]): World => {
      const tenants = list.map(({ nodes, waiting }, t) =>
        tenant(`t${t}`, {
          pools: ["p", "q"].map((name) => pool(`t${t}-${name}`, { disruption: FREELY })),
          nodes: nodesOf(nodes.map((each) => each.one)).map((each, n) => ({
            ...each,
            name: `t${t}-${each.name}`,
            machine: `t${t}-${each.name}`,
            pool: `t${t}-${nodes[n]?.second ? "q" : "p"}`,
            labels: { "kubernetes.io/hostname": `t${t}-${each.name}` },
            ...(dear ? { cost: 3 } : {}),
          })),
          pods: waiting.map((cpu, n) => pod(`w${n}`, { cpu, memory: 1 })),
        }),
      );
      const own = tenants.flatMap((each) => each.nodes.map(({ name }) => machine(name, SIZE, { unavailable: "in use" })));
      return world([...own, ...Array.from({ length: free }, (_, n) => machine(`free${n}`, SIZE))], ...tenants);
    });
  const cpuOf = ({ needs: { requests } }: Pick<RunningPod, "needs">) => Number((requests.get("cpu") ?? 0n) / 1_000_000_000n);

  test("what goes makes no pod pending: those that move and those that wait for it fit on what stays or replaces it", () => {
    const seen = { delete: 0, replace: 0, reinstall: 0 };
    fc.assert(
      fc.property(worlds, (given) => {
        const planned = plan(given);
        const { now } = disruptions(given, planned);
        for (const { tenant: name, nodes, pods } of given.tenants) {
          const mine = now.filter((each) => each.tenant === name);
          for (const { how } of mine) seen[how] += 1;
          const gone = new Set(mine.flatMap((each) => each.nodes));
          const expected = new Set(planned.placements.filter((each) => each.tenant === name && !each.planned).flatMap((each) => each.pods));
          const room = nodes
            .filter((each) => !gone.has(each.name) && !each.leaving && each.initialized)
            .map((each) => (each.pods ?? []).reduce((left, of) => left - cpuOf(of), 16));
          const made = mine.reduce((sum, each) => sum + (each.how === "reinstall" ? 1 : each.replacements.length), 0);
          const moving = nodes.filter((each) => gone.has(each.name)).flatMap((each) => each.pods ?? []);
          const waiting = pods.filter((each) => expected.has(each.key));
          if (mine.length > 0) expect(fits([...moving, ...waiting].map(cpuOf), [...room, ...Array<number>(made).fill(16)])).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(0);
  });

  test("no machine is in two claims, of the plan and of all that is replaced", () => {
    let replaced = 0;
    fc.assert(
      fc.property(worlds, (given) => {
        const planned = plan(given);
        const replacements = disruptions(given, planned).now.flatMap((each) => each.replacements);
        const machines = [...planned.claims, ...replacements].map((each) => each.machine);
        expect(new Set(machines).size).toBe(machines.length);
        replaced += replacements.length;
      }),
      { numRuns: 200 },
    );
    expect(replaced).toBeGreaterThan(0);
  });
});

describe("one decision leaves to the next what it does not take", () => {
  const drifted = { drifted: "RequirementsDrifted" };
  /** Two tenants with a node each, in pools of their own. */
  const two = (one: Partial<NodeSupply>, disruption: Partial<PoolDisruption>, spares: number, more: Partial<World> = {}): World => {
    const tenants = ["a", "b"].map((name) =>
      tenant(name, {
        nodes: [up(`${name}1`, [running("x", 9)], { pool: name, ...one })],
        pools: [pool(name, { disruption: { ...FREELY, ...disruption } })],
      }),
    );
    const own = tenants.flatMap((each) => each.nodes.map(({ name }) => machine(name, SIZE, { unavailable: "in use" })));
    return { ...world([...own, ...Array.from({ length: spares }, (_, n) => machine(`spare${n}`, SIZE))], ...tenants), ...more };
  };
  const how = (given: World) =>
    disruptions(given).now.map((each) => [each.how, ...each.replacements.map((claim) => claim.machine)].join(" "));

  test("one spare is claimed for one of two drifted nodes, and the other is installed anew; of a catalog each gets its own", () => {
    const given = (spares: number, more?: Partial<World>) => two(drifted, { policy: "WhenEmpty" }, spares, more);
    expect(how(given(1))).toEqual(["replace spare0", "reinstall"]);
    expect(how(given(2))).toEqual(["replace spare0", "replace spare1"]);
    expect(how(given(0, { catalog: [machine("new", SIZE)] }))).toEqual(["replace new-1", "replace new-2"]);
  });

  test("one cheaper machine replaces a node of one tenant", () => {
    expect(how(two({ cost: 5 }, {}, 1))).toEqual(["replace spare0"]);
  });

  test("pods do not move to a node that goes as well", () => {
    const pair = (left: readonly RunningPod[], right: readonly RunningPod[]) => {
      const nodes = [up("n1", left, { pool: "p", ...drifted }), up("n2", right, { pool: "q", ...drifted })];
      const pools = ["p", "q"].map((name) => pool(name, { disruption: { ...FREELY, consolidateAfterS: "never" } }));
      return said(
        world(
          nodes.map(({ name }) => machine(name, SIZE, { unavailable: "in use" })),
          tenant("a", { nodes, pools }),
        ),
      );
    };
    expect(pair([], [running("x", 9)])).toEqual(["Drifted delete n1", "Drifted reinstall n2"]);
    expect(pair([running("x", 5)], [running("y", 5)])).toEqual(["Drifted delete n1"]);
  });

  test("a drifted node waits where pods of its tenant lose another node whatever becomes of them", () => {
    const nodes = [up("n1", [running("x", 9)], { expireAfterS: 60 }), up("n2", [running("y", 9)], drifted), up("n3")];
    const found = disruptions(of(nodes, { consolidateAfterS: "never" }));
    expect(found.now.map((each) => `${each.reason} ${each.nodes}`)).toEqual(["Expired n1"]);
    expect(found.held).toEqual([{ tenant: "acme.a", node: "n2", reason: "pods of its tenant lose another node" }]);
  });
});

describe("consolidation with neighbours", () => {
  const APART = { antiAffinity: [{ key: "kubernetes.io/hostname", selector: { matchLabels: { app: "apart" } } }] };
  const PORT = { ip: "", port: 80, protocol: "TCP" };
  const shape = fc.record({ cpu: fc.integer({ min: 1, max: 6 }), port: fc.boolean(), apart: fc.boolean() });
  type Shape = typeof shape extends fc.Arbitrary<infer T> ? T : never;

  test("makes no pod pending: what moves finds a free port, and nobody it repels", () => {
    let moved = 0;
    fc.assert(
      fc.property(fc.array(fc.array(shape, { maxLength: 3 }), { minLength: 2, maxLength: 5 }), (list) => {
        // one of each on a node, as any scheduler leaves it
        const seated = list.map((pods) =>
          pods.map((one, at) => ({
            ...one,
            port: one.port && pods.findIndex((other) => other.port) === at,
            apart: one.apart && pods.findIndex((other) => other.apart) === at,
          })),
        );
        const nodes = seated.map((pods, n) => {
          const list = pods.map(({ cpu, port, apart }, m) =>
            running(`p${n}-${m}`, cpu, {
              labels: apart ? { app: "apart" } : {},
              needs: needs({ cpu, memory: 1 }, { hostPorts: port ? [PORT] : [], ...(apart ? APART : {}) }),
            }),
          );
          return up(`n${n}`, list, { hostPorts: pods.some((one) => one.port) ? [PORT] : [] });
        });
        const found = disruptions(of(nodes)).now;
        const gone = new Set(found.flatMap((each) => each.nodes));
        const room = (pods: readonly Shape[]): Room => ({
          cpu: 16 - pods.reduce((all, one) => all + one.cpu, 0),
          port: pods.some((one) => one.port),
          apart: pods.some((one) => one.apart),
        });
        const staying = seated.filter((_, n) => !gone.has(`n${n}`)).map(room);
        const moving = seated.filter((_, n) => gone.has(`n${n}`)).flat();
        moved += moving.filter((one) => one.port || one.apart).length;
        expect(fitsBeside(moving, staying)).toBe(true);
      }),
      { numRuns: 100, seed: 1 },
    );
    expect(moved).toBeGreaterThan(0);
  });

  interface Room {
    readonly cpu: number;
    readonly port: boolean;
    readonly apart: boolean;
  }

  function fitsBeside([first, ...rest]: readonly Shape[], rooms: readonly Room[]): boolean {
    if (!first) return true;
    return rooms.some((room, at) => {
      if (room.cpu < first.cpu || (room.port && first.port) || (room.apart && first.apart)) return false;
      const after = { cpu: room.cpu - first.cpu, port: room.port || first.port, apart: room.apart || first.apart };
      return fitsBeside(rest, rooms.with(at, after));
    });
  }
});

/** By trying every way. */
function fits([first, ...rest]: readonly number[], free: readonly number[]): boolean {
  if (first === undefined) return true;
  return free.some((room, at) => room >= first && fits(rest, free.with(at, room - first)));
}

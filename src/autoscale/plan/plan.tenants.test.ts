import { describe, expect, test } from "vitest";
import type { Plan } from "./answer.ts";
import { plan } from "./plan.ts";
import type { MachineSupply, NodeSupply, PendingPod, RunningPod, TenantWorld, World } from "./world.ts";
import { claimed, machine, needs, node, pod, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
const RACK = "topology.ironwright.dev/rack";

function free(count: number, rack = "r1", more: Partial<MachineSupply> = {}): MachineSupply[] {
  return Array.from({ length: count }, (_, n) => machine(`${rack}-${n}`, BOX, { nodeLabels: { [RACK]: rack }, ...more }));
}

/** A node and the machine it is. */
function seat(
  name: string,
  more: Partial<NodeSupply> = {},
  running: readonly Partial<RunningPod>[] = [{}],
): { machine: MachineSupply; node: NodeSupply } {
  const pods = running.map(
    (one, n): RunningPod => ({ key: `default/${name}-${n}`, labels: {}, priority: 0, needs: needs({ gpu: 8 }), ...one }),
  );
  return {
    machine: machine(name, BOX, { unavailable: "in use", nodeLabels: { [RACK]: more.labels?.[RACK] ?? "r1" } }),
    node: node(name, BOX, {
      pool: "p",
      machine: name,
      ageS: 9_000,
      pods,
      used: pods.length > 0 ? needs({ gpu: 8 }).requests : new Map(),
      ...more,
      labels: { "kubernetes.io/hostname": name, [RACK]: "r1", ...more.labels },
    }),
  };
}

function members(gang: string, count: number, more: Partial<PendingPod> = {}): PendingPod[] {
  return Array.from({ length: count }, (_, n) => ({ ...pod(`${gang}-${n}`, { gpu: 8 }), gang, ...more }));
}

function withSeats(base: World, tenantName: string, seats: readonly ReturnType<typeof seat>[]): World {
  return {
    ...base,
    machines: [...base.machines, ...seats.map((one) => one.machine)],
    tenants: base.tenants.map((one): TenantWorld => (one.tenant === tenantName ? { ...one, nodes: seats.map((each) => each.node) } : one)),
  };
}

function acts(planned: Plan): string[] {
  return (planned.actions ?? []).map((one) => `${one.verb} ${one.node}${one.verb === "give" ? ` to ${one.to}` : ""}`);
}

describe("gangs", () => {
  test("whole or absent; what it leaves goes to others; the refusal says what is missing", () => {
    const gangs = [{ name: "g", min: 4, size: 4 }];
    const planned = plan(world(free(3), tenant("a", { gangs, pods: [...members("g", 4), pod("x", { gpu: 8 })] })));
    expect(claimed(planned)).toEqual({ "r1-0": ["x"] });
    expect(planned.refusals[0]).toMatchObject({ gang: "g", hint: "1 more place" });
    expect(planned.refusals[0]?.reason).toContain("gang g starts whole or not at all: it needs 4 places at once, there are 3");
  });

  test("one rack, the fullest that fits; members share machines", () => {
    const racks = [...free(3, "r1"), ...free(2, "r2"), ...free(5, "r3")];
    const gangs = [{ name: "g", min: 7, size: 7, topology: { required: RACK } }];
    const pods = Array.from({ length: 7 }, (_, n) => ({ ...pod(`g-${n}`, { gpu: 2 }), gang: "g" }));
    expect(Object.keys(claimed(plan(world(racks, tenant("a", { gangs, pods })))))).toEqual(["r2-0", "r2-1"]);
    const nowhere = plan(
      world(racks, tenant("a", { gangs: [{ name: "g", min: 6, size: 6, topology: { required: RACK } }], pods: members("g", 6) })),
    );
    expect(nowhere.claims).toEqual([]);
    expect(nowhere.refusals[0]?.reason).toContain("it needs 6 places at once, there are 5, at most in one rack (r3)");
    expect(nowhere.refusals[0]?.hint).toBe("1 more place in rack r3");
  });

  test("grows beyond its minimum only after others had their turn", () => {
    const gangs = [{ name: "g", min: 2, size: 4 }];
    const of = (count: number) =>
      plan(world(free(count), tenant("a", { gangs, pods: members("g", 4) }), tenant("b", { pods: [pod("y", { gpu: 8 })] })));
    const tenants = (planned: Plan) => planned.claims.map((claim) => claim.tenant).sort();
    expect(tenants(of(3))).toEqual(["acme.a", "acme.a", "acme.b"]);
    expect(tenants(of(5))).toEqual(["acme.a", "acme.a", "acme.a", "acme.a", "acme.b"]);
    expect(of(3).refusals[0]?.reason).toContain("gang g has as many members as there is room for");
  });

  test("a failed member is replaced in its rack; without a place there, the gang is given back whole", () => {
    const gangs = [{ name: "g", min: 3, size: 3, topology: { required: RACK } }];
    const seats = [seat("n1", {}, [{ gang: "g" }]), seat("n2", {}, [{ gang: "g" }])];
    const of = (machines: MachineSupply[]) =>
      plan(withSeats(world(machines, tenant("a", { gangs, pods: members("g", 1) })), "acme.a", seats));
    expect(claimed(of([...free(1, "r2"), ...free(1, "r1")]))).toEqual({ "r1-0": ["g-0"] });
    const broken = of(free(3, "r2"));
    expect(broken.claims).toEqual([]);
    expect(acts(broken)).toEqual(["release n1", "release n2"]);
  });

  test("quota stops a gang as a whole, and is what its refusal names", () => {
    const quota = { nominal: 2, borrow: 1 };
    const gangs = [{ name: "g", min: 4, size: 4 }];
    const planned = plan(world(free(4), tenant("a", { quota, gangs, pods: members("g", 4) }), tenant("b", { quota: { nominal: 2 } })));
    expect(planned.claims).toEqual([]);
    expect(planned.refusals[0]?.reason).toContain("borrowing limit");
  });

  test("takes nodes of lower priority in its tenant, the newest first; nothing is wiped, what just started stays", () => {
    const seats = [seat("n1", { ageS: 7_200 }), seat("n2", { ageS: 3_600 }), seat("n3", { ageS: 600 })];
    const hot = { gangs: [{ name: "hot", min: 2, size: 2 }], pods: members("hot", 2, { priority: 100 }), quota: { nominal: 3 } };
    const planned = plan({ ...withSeats(world([], tenant("a", hot)), "acme.a", seats), policy: { minRuntimeS: 1_800 } });
    expect(acts(planned)).toEqual(["evict n2", "evict n1"]);
    expect(planned.claims).toEqual([]);
    expect(planned.placements.map((one) => one.node)).toEqual(["n1", "n2"]);
    expect(plan({ ...withSeats(world([], tenant("a", { ...hot, pods: members("hot", 2) })), "acme.a", seats) }).actions).toBeUndefined();
  });

  test("pods of lower priority make room for a gang that needs their machine besides", () => {
    const pods = [...members("hot", 2, { priority: 100 }), pod("low", { gpu: 8 })];
    const base = world(free(1), tenant("a", { gangs: [{ name: "hot", min: 2, size: 2 }], pods }));
    const planned = plan(withSeats(base, "acme.a", [seat("n1")]));
    expect(acts(planned)).toEqual(["evict n1"]);
    expect(claimed(planned)).toEqual({
      "r1-0": [planned.placements.some((one) => one.node === "n1" && one.pods.includes("default/hot-0")) ? "hot-1" : "hot-0"],
    });
    expect(planned.refusals.map((one) => one.pods)).toEqual([["default/low"]]);
  });
});

describe("machines change hands", () => {
  const borrowed = [
    seat("a1", { ageS: 9_000 }, [{ priority: 10 }]),
    seat("a2", { ageS: 8_000 }, [{ priority: 10 }]),
    seat("a3", { ageS: 7_000 }),
    seat("a4", { ageS: 6_000 }),
  ];
  const owner = (count: number) =>
    tenant("b", { quota: { nominal: 2 }, pods: Array.from({ length: count }, (_, n) => pod(`y${n}`, { gpu: 8 })) });

  test("an owner gets its quota back: the lowest priority, then the newest, no more than it owns", () => {
    const of = (count: number) =>
      plan({
        ...withSeats(world([], tenant("a", { quota: { nominal: 2 } }), owner(count)), "acme.a", borrowed),
        policy: { turnaroundS: 900 },
      });
    const one = of(1);
    expect(acts(one)).toEqual(["drain a4", "wipe a4", "give a4 to acme.b"]);
    expect(one.claims).toMatchObject([{ tenant: "acme.b", machine: "a4", awaiting: { readyInS: 900 } }]);
    expect(one.actions?.[0]?.pods).toEqual(["default/a4-0"]);
    expect(
      of(5)
        .claims.map((claim) => claim.machine)
        .sort(),
    ).toEqual(["a3", "a4"]);
  });

  test("another cohort lent nothing; a budget or do-not-disrupt holds unless a grace period ends it", () => {
    const apart = plan(withSeats(world([], tenant("a", { quota: { nominal: 2, cohort: "x" } }), owner(1)), "acme.a", borrowed));
    expect(apart.actions).toBeUndefined();
    const shy = (more: Partial<NodeSupply>) =>
      acts(plan(withSeats(world([], tenant("a"), owner(1)), "acme.a", [seat("n", more, [{ doNotDisrupt: true }])])));
    expect(shy({})).toEqual([]);
    expect(shy({ terminationGracePeriodS: 600 })).toEqual(["drain n", "wipe n", "give n to acme.b"]);
  });

  test("an idle machine is handed over before its idle timer, unless it is not lent or just became idle", () => {
    const idle = (emptyForS: number, quota?: { nominal: number; lend: number }) =>
      acts(
        plan(
          withSeats(world([], tenant("a", quota ? { quota } : {}), tenant("b", { pods: [pod("y", { gpu: 8 })] })), "acme.a", [
            seat("n", { emptyForS }, []),
          ]),
        ),
      );
    expect(idle(120)).toEqual(["drain n", "wipe n", "give n to acme.b"]);
    expect(idle(5)).toEqual([]);
    expect(idle(120, { nominal: 1, lend: 0 })).toEqual([]);
  });

  test("a borrower's gang that loses a member does not run on without it", () => {
    const seats = [seat("t1", { ageS: 100 }, [{ gang: "t" }]), seat("t2", { ageS: 90 }, [{ gang: "t" }])];
    const a = tenant("a", { gangs: [{ name: "t", min: 2, size: 2 }] });
    const planned = plan(withSeats(world([], a, owner(1)), "acme.a", seats));
    expect(acts(planned)).toEqual(["drain t2", "wipe t2", "give t2 to acme.b", "evict t1"]);
  });

  test("free machines come first; a machine that another tenant wrote to only after its wipe", () => {
    const both = plan(withSeats(world(free(1), tenant("a", { quota: { nominal: 2 } }), owner(1)), "acme.a", borrowed));
    expect(both.actions).toBeUndefined();
    expect(Object.keys(claimed(both))).toEqual(["r1-0"]);
    const dirty = (lastTenant: string) => acts(plan(world(free(1, "r1", { lastTenant }), owner(1))));
    expect([dirty("acme.a")[0], dirty("acme.b")[0]]).toEqual(["wipe r1-0", undefined]);
  });
});

describe("time", () => {
  const window = { name: "night", tenant: "acme.b", selector: { [RACK]: "r1" }, startsInS: 3_600, endsInS: 9_000 };

  test("a window keeps its machines from all but its tenant and work that ends in time", () => {
    const of = (who: string, maxRuntimeS?: number) => {
      const pods = [{ ...pod("x", { gpu: 8 }), ...(maxRuntimeS === undefined ? {} : { maxRuntimeS }) }];
      const base = world(free(1), tenant("a", who === "a" ? { pods } : {}), tenant("b", who === "b" ? { pods } : {}));
      return plan({ ...base, windows: [window], policy: { turnaroundS: 600 } });
    };
    expect([of("a").claims.length, of("a", 3_000).claims.length, of("a", 3_001).claims.length, of("b").claims.length]).toEqual([
      0, 1, 0, 1,
    ]);
    expect(of("a").refusals[0]?.reason).toContain("kept for acme.b (reservation window night), which begins in 3600 s");
  });

  test("nothing longer shares a machine that was had only because its work ends in time", () => {
    const pods = [{ ...pod("short", { gpu: 4 }), maxRuntimeS: 1_000 }, pod("long", { gpu: 4 })];
    const planned = plan({ ...world(free(1), tenant("a", { pods }), tenant("b")), windows: [window] });
    expect(claimed(planned)).toEqual({ "r1-0": ["short"] });
  });

  test("nor later: what runs there is known to end, and the window counts on that", () => {
    const held = (endsInS?: number) =>
      node("n", BOX, {
        machine: "r1-0",
        labels: { [RACK]: "r1" },
        pods: [{ ...pod("short", { gpu: 4 }), ...(endsInS === undefined ? {} : { endsInS }) }],
        used: needs({ gpu: 4 }).requests,
      });
    const joins = (endsInS: number | undefined, maxRuntimeS?: number) => {
      const long = { ...pod("long", { gpu: 4 }), ...(maxRuntimeS === undefined ? {} : { maxRuntimeS }) };
      const machines = free(1).map((one) => ({ ...one, unavailable: "in use" }));
      const base = world(machines, tenant("a", { nodes: [held(endsInS)], pods: [long] }), tenant("b"));
      return plan({ ...base, windows: [window], policy: { turnaroundS: 600 } }).placements.length === 1;
    };
    expect([joins(1_000), joins(1_000, 3_001), joins(1_000, 3_000)]).toEqual([false, false, true]);
    // it would not be free in time anyhow
    expect([joins(undefined), joins(3_001)]).toEqual([true, true]);
  });

  test("two machines had for work that ends are both free in time, whatever waits besides", () => {
    const pods = ["x", "y"].map((name) => ({ ...pod(`short-${name}`, { gpu: 5 }), maxRuntimeS: 1_000 }));
    const more = ["x", "y"].map((name) => pod(`long-${name}`, { gpu: 3 }));
    const given = world(free(2), tenant("a", { pods: [...pods, ...more] }), tenant("b"));
    const { placements } = plan({ ...given, windows: [{ ...window, count: 1 }], policy: { turnaroundS: 600 } });
    const unbounded = placements.filter((one) => one.pods.some((key) => key.includes("long")));
    expect(unbounded.length).toBeLessThanOrEqual(1);
  });

  test("once it has begun, its tenant gets the machines from who is still there", () => {
    const begun = { ...window, startsInS: -1, count: 1 };
    const base = withSeats(world([], tenant("a"), tenant("b", { pods: [pod("y", { gpu: 8 })] })), "acme.a", [seat("n1")]);
    expect(acts(plan({ ...base, windows: [begun] }))).toEqual(["drain n1", "wipe n1", "give n1 to acme.b"]);
    expect(plan({ ...base, windows: [{ ...begun, startsInS: 3_600 }] }).actions).toBeUndefined();
  });
});

import { describe, expect, test } from "vitest";
import { parseResources } from "../../core/quantity.ts";
import { plan } from "./plan.ts";
import { ANY_CLASS, claimed, machine, needs, node, pod, podsOn, pool, taint, tenant, world } from "./worlds.fixture.ts";

const GPU_BOX = { cpu: 192, memory: 2048, gpu: 8 };

function reasons(result: ReturnType<typeof plan>): string[] {
  return result.refusals.map((one) => one.reason);
}

describe("machines are claimed by name", () => {
  test("a GPU pod gets the machine that has GPUs, a second one waits and is told why", () => {
    const machines = [
      machine("gpu-1", { cpu: 2, memory: 1, gpu: 2 }),
      machine("gpu-2", { cpu: 2, memory: 1, gpu: 2 }, { unavailable: "in use" }),
      machine("cpu-1", { cpu: 2, memory: 1 }),
    ];
    const result = plan(world(machines, tenant("a", { pods: [pod("x", { gpu: 2 }), pod("y", { gpu: 2 })] })));
    expect(claimed(result)).toEqual({ "gpu-1": ["x"] });
    expect(result.claims[0]).toMatchObject({
      tenant: "acme.a",
      pool: "p",
      machineClass: "any",
      labels: { "kubernetes.io/hostname": "gpu-1", "karpenter.sh/nodepool": "p" },
    });
    expect(result.refusals).toMatchObject([
      { pods: ["default/y"], reason: "no free host (type any: 0 of 2); pool p: 0/3 machines: 2 in use, 1 lacks nvidia.com/gpu" },
    ]);
  });

  test("the scarce resource drives the packing: four pods, two servers", () => {
    const pods = [
      pod("g3", { gpu: 3, cpu: 40 }),
      pod("g4a", { gpu: 4, cpu: 30 }),
      pod("g4b", { gpu: 4, cpu: 20 }),
      pod("g5", { gpu: 5, cpu: 10 }),
    ];
    const result = plan(world([machine("a", GPU_BOX), machine("b", GPU_BOX), machine("c", GPU_BOX)], tenant("a", { pods })));
    expect(Object.values(claimed(result)).sort()).toEqual([
      ["g3", "g5"],
      ["g4a", "g4b"],
    ]);
  });

  test("a pod that needs no GPU takes no GPU server, unless its pool says so", () => {
    const machines = [machine("a-gpu", GPU_BOX)];
    const pods = [pod("plain", { cpu: 1 })];
    expect(reasons(plan(world(machines, tenant("a", { pods }))))).toEqual([
      "only accelerator hosts left; pool p: 0/1 machines: 1 kept for pods that ask for its accelerators",
    ]);
    const pools = [pool("p", { plainPodsOnAccelerators: true })];
    expect(claimed(plan(world(machines, tenant("a", { pods, pools }))))).toEqual({ "a-gpu": ["plain"] });
    expect(claimed(plan(world([...machines, machine("z-cpu", { cpu: 64, memory: 512 })], tenant("a", { pods, pools }))))).toEqual({
      "z-cpu": ["plain"],
    });
  });

  test("few large machines before many small, the smallest that is enough, then the one with the image, then the name", () => {
    const pods = [1, 2, 3].map((n) => pod(`x${n}`, { gpu: 1 }));
    const small = { cpu: 16, memory: 64, gpu: 2 };
    const box = (name: string, image?: string) => machine(name, GPU_BOX, image ? { imageSha256: image } : {});
    expect(Object.keys(claimed(plan(world([machine("s1", small), machine("s2", small), box("big")], tenant("a", { pods })))))).toEqual([
      "big",
    ]);
    expect(Object.keys(claimed(plan(world([machine("s1", small), box("big")], tenant("a", { pods: pods.slice(1) })))))).toEqual(["s1"]);
    const pools = [pool("p", { machineClass: { ...ANY_CLASS, image: { sha256: "i", sizeBytes: 1 } } })];
    expect(Object.keys(claimed(plan(world([box("a"), box("b", "i"), box("c", "i")], tenant("a", { pods, pools })))))).toEqual(["b"]);
  });

  test("the rigid go before the flexible, so that both find a machine", () => {
    const eu = machine("m1", GPU_BOX, { nodeLabels: { zone: "eu" } });
    const us = machine("m2", GPU_BOX, { nodeLabels: { zone: "us" } });
    const rigid = pod("rigid", { gpu: 8 }, { terms: [[{ key: "zone", operator: "In", values: ["eu"] }]] });
    const result = plan(world([eu, us], tenant("a", { pods: [pod("flexible", { gpu: 8, cpu: 100 }), rigid] })));
    expect(claimed(result)).toEqual({ m1: ["rigid"], m2: ["flexible"] });
  });

  test("priority outranks size when machines are scarce", () => {
    const pods = [pod("low", { gpu: 8, cpu: 100 }), pod("high", { gpu: 5 }, {}, { priority: 100 })];
    expect(claimed(plan(world([machine("a", GPU_BOX)], tenant("a", { pods }))))).toEqual({ a: ["high"] });
  });

  test("tenants take turns: who holds fewer machines goes first", () => {
    const pods = (of: string) => [1, 2, 3].map((n) => pod(`${of}${n}`, { gpu: 8 }));
    const machines = ["m1", "m2", "m3", "m4"].map((name) => machine(name, GPU_BOX));
    const result = plan(
      world(machines, tenant("a", { pods: pods("a") }), tenant("b", { pods: pods("b"), nodes: [node("n", GPU_BOX, { leaving: true })] })),
    );
    expect(result.claims.map((claim) => claim.tenant)).toEqual(["acme.a", "acme.a", "acme.b", "acme.a"]);
  });
});

describe("nodes that exist or are coming are used first", () => {
  test("a pod goes to a node that is up, then to one that is coming, and no machine is claimed", () => {
    const nodes = [
      node("b-up", { cpu: 4, memory: 8 }),
      node("a-coming", { cpu: 4, memory: 8 }, { initialized: false, taints: [taint("node.kubernetes.io/not-ready")] }),
    ];
    const result = plan(
      world([machine("m", { cpu: 4, memory: 8 })], tenant("a", { nodes, pods: [pod("x", { cpu: 3 }), pod("y", { cpu: 3 })] })),
    );
    expect(result.claims).toEqual([]);
    expect([podsOn(result, "b-up"), podsOn(result, "a-coming")]).toEqual([["x"], ["y"]]);
  });

  test("what is used, reserved for daemons or on its way out is not there", () => {
    const daemons = [{ name: "kube-system/agent", needs: needs({ cpu: 1 }) }];
    const used = node("used", { cpu: 4 }, { used: parseResources({ cpu: 2 }) });
    const go = (one: ReturnType<typeof node>) =>
      plan(world([], tenant("a", { nodes: [one], daemons, pods: [pod("x", { cpu: 2 })] }))).placements.length;
    expect(go(used)).toBe(0);
    expect(go({ ...used, daemons: ["kube-system/agent"] })).toBe(1);
    expect(go({ ...used, used: new Map(), leaving: true })).toBe(0);
    expect(go({ ...used, used: new Map() })).toBe(1);
  });

  test("startup taints are invisible while a node is coming up, and real once it is initialised", () => {
    const wait = taint("cni");
    const go = (initialized: boolean) =>
      plan(
        world(
          [],
          tenant("a", {
            nodes: [node("n", { cpu: 4 }, { initialized, taints: [wait], startupTaints: [wait] })],
            pods: [pod("x", { cpu: 1 })],
          }),
        ),
      ).placements.length;
    expect([go(false), go(true)]).toEqual([1, 0]);
  });

  test("host ports and pods per node count", () => {
    const port = { ip: "", port: 80, protocol: "TCP" };
    const pods = [1, 2].map((n) => pod(`x${n}`, { cpu: 1 }, { hostPorts: [port] }));
    const small = node("n", { cpu: 64 }, { allocatable: parseResources({ cpu: 64, pods: 3 }) });
    expect(plan(world([], tenant("a", { nodes: [small], pods }))).placements[0]?.pods).toHaveLength(1);
    const taken = { ...small, hostPorts: [{ ...port, ip: "10.0.0.1" }] };
    expect(plan(world([], tenant("a", { nodes: [taken], pods }))).placements).toEqual([]);
    const many = [1, 2, 3, 4].map((n) => pod(`y${n}`, { cpu: 1 }));
    expect(plan(world([], tenant("a", { nodes: [small], pods: many }))).placements[0]?.pods).toHaveLength(3);
  });
});

describe("pools", () => {
  test("the heavier pool wins, the lighter one is the overflow", () => {
    const machines = [machine("r1", GPU_BOX, { labels: { tier: "reserved" } }), machine("s1", GPU_BOX, { labels: { tier: "shared" } })];
    const of = (name: string, weight: number) => pool(name, { weight, machineClass: { name, selector: { tier: name } } });
    const result = plan(
      world(machines, tenant("a", { pools: [of("shared", 1), of("reserved", 50)], pods: [pod("x", { gpu: 8 }), pod("y", { gpu: 8 })] })),
    );
    expect(result.claims.map((claim) => claim.pool)).toEqual(["reserved", "shared"]);
  });

  test("limits are charged at the machine that is claimed, nodes that leave included", () => {
    const machines = ["m1", "m2", "m3"].map((name) => machine(name, GPU_BOX));
    const pools = [pool("p", { limits: parseResources({ "nvidia.com/gpu": 20, nodes: 10 }) })];
    const pods = [1, 2, 3].map((n) => pod(`x${n}`, { gpu: 8 }));
    const result = plan(world(machines, tenant("a", { pools, pods })));
    expect(result.claims).toHaveLength(2);
    expect(reasons(result)).toEqual([
      "over the pool's limit of nvidia.com/gpu; pool p: 0/3 machines: 2 in use, 1 over the pool's limit of nvidia.com/gpu",
    ]);
    const leaving = node("old", GPU_BOX, { pool: "p", leaving: true });
    expect(plan(world(machines, tenant("a", { pools, pods, nodes: [leaving] }))).claims).toHaveLength(1);
  });

  test("a taint steers away but never strands; a hard one needs a toleration", () => {
    const soft = pool("soft", { weight: 90, taints: [taint("x", "PreferNoSchedule")] });
    const machines = [machine("m", GPU_BOX)];
    const pods = [pod("a", { gpu: 1 })];
    expect(plan(world(machines, tenant("a", { pods, pools: [soft, pool("plain")] }))).claims[0]?.pool).toBe("plain");
    expect(plan(world(machines, tenant("a", { pods, pools: [soft] }))).claims[0]?.pool).toBe("soft");
    const hard = pool("hard", { taints: [taint("x")] });
    expect(reasons(plan(world(machines, tenant("a", { pods, pools: [hard] }))))).toEqual([
      "pool hard: 0/1 machines: 1 taint x:NoSchedule is not tolerated",
    ]);
    const tolerant = [pod("a", { gpu: 1 }, { tolerations: [{ operator: "Exists" }] })];
    expect(plan(world(machines, tenant("a", { pods: tolerant, pools: [hard] }))).claims).toHaveLength(1);
  });

  test("a pool gives labels of its own, cannot make facts true, and a pod narrows what is open", () => {
    const machines = [machine("m", GPU_BOX)];
    const tier = pool("p", { requirements: [{ key: "tier", operator: "In", values: ["gold", "bronze"] }] });
    const gold = pod("x", { gpu: 1 }, { terms: [[{ key: "tier", operator: "In", values: ["gold"] }]] });
    expect(plan(world(machines, tenant("a", { pods: [gold], pools: [tier] }))).claims[0]?.labels.tier).toBe("gold");
    const zone = pool("p", { requirements: [{ key: "topology.kubernetes.io/zone", operator: "In", values: ["eu"] }] });
    expect(reasons(plan(world(machines, tenant("a", { pods: [gold], pools: [zone] }))))).toEqual([
      "pool p: 0/1 machines: 1 not what the pool wants of topology.kubernetes.io/zone",
    ]);
    expect(reasons(plan(world(machines, tenant("a", { pods: [gold] }))))).toEqual([
      "label tier has no known values; pool p: 0/1 machines: 1 label tier has no known values",
    ]);
  });

  test("a pool may ask for a label only operators see; a pod may not", () => {
    const machines = [machine("m1", GPU_BOX, { labels: { row: "7" } }), machine("m0", GPU_BOX, { labels: { row: "3" } })];
    const pools = [pool("p", { requirements: [{ key: "row", operator: "Gt", values: ["5"] }] })];
    const result = plan(world(machines, tenant("a", { pools, pods: [pod("x", { gpu: 1 })] })));
    expect(result.claims[0]).toMatchObject({ machine: "m1" });
    expect(result.claims[0]?.labels).not.toHaveProperty("row");
    const nosy = pod("x", { gpu: 1 }, { terms: [[{ key: "row", operator: "In", values: ["7"] }]] });
    expect(plan(world(machines, tenant("a", { pools, pods: [nosy] }))).claims).toEqual([]);
  });

  test("the class's gate: GPUs by number and id, and a disk to put the system on", () => {
    const machines = [machine("m", GPU_BOX)];
    const go = (machineClass: Parameters<typeof pool>[1]) =>
      reasons(plan(world(machines, tenant("a", { pools: [pool("p", machineClass)], pods: [pod("x", { gpu: 1 })] }))));
    expect(go({ machineClass: { ...ANY_CLASS, gpus: { count: 8, id: "10de:2330" } } })).toEqual([]);
    expect(go({ machineClass: { ...ANY_CLASS, gpus: { count: 8, id: "10de:9999" } } })).toEqual([
      "pool p: 0/1 machines: 1 has 0 of the 8 GPUs its class wants",
    ]);
    expect(go({ machineClass: { ...ANY_CLASS, rootDevice: { minSizeGiB: 4096 } } })).toEqual([
      "pool p: 0/1 machines: 1 no disk its class could use",
    ]);
    expect(go({ machineClass: { ...ANY_CLASS, selector: { row: "1" } } })).toEqual(["pool p: class any selects no machine"]);
    expect(go({ problem: "not Ready: spec.template.spec.nodeClassRef.name: no MachineClass h100" })).toEqual([
      "pool p: not Ready: spec.template.spec.nodeClassRef.name: no MachineClass h100",
    ]);
  });
});

describe("what is not planned says so", () => {
  const machines = [machine("m", GPU_BOX)];

  test("a pod the planner cannot weigh, one that contradicts itself, one with an empty affinity", () => {
    const pods = [
      pod("volume", { gpu: 1 }, { unsupported: "its volume data is a PersistentVolumeClaim, which is not planned yet" }),
      pod(
        "both",
        { gpu: 1 },
        {
          terms: [
            [
              { key: "arch", operator: "In", values: ["a"] },
              { key: "arch", operator: "In", values: ["b"] },
            ],
          ],
        },
      ),
      pod("none", { gpu: 1 }, { terms: [] }),
    ];
    const result = plan(world(machines, tenant("a", { pods })));
    expect(result.claims).toEqual([]);
    expect(reasons(result).sort()).toEqual([
      "its node affinity matches no node",
      "its node selector and affinity contradict each other on arch",
      "its volume data is a PersistentVolumeClaim, which is not planned yet",
    ]);
  });

  test("a tenant without a pool, a pod that asks for more than there is anywhere", () => {
    expect(reasons(plan(world(machines, tenant("a", { pools: [], pods: [pod("x", { gpu: 1 })] }))))).toEqual([
      "no NodePool serves this tenant",
    ]);
    expect(reasons(plan(world(machines, tenant("a", { pods: [pod("x", { gpu: 1e15 })] }))))).toEqual([
      "pool p: 0/1 machines: 1 too small (nvidia.com/gpu)",
    ]);
  });
});

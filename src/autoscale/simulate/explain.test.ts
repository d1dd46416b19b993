import { describe, expect, test } from "vitest";
import { explained } from "./explain.ts";
import { sheetsOf } from "./print.ts";
import { simulate } from "./replay.ts";

const H = { h: { cpu: 192, mem: 2048, gpu: 8 } };
const why = (given: object, pod: string) => explained(simulate({ ...given }), pod);

describe("--explain", () => {
  test("a pod that is placed says where; one that nobody knows is said to be unknown", () => {
    const given = { catalog: H, hosts: [{ type: "h", id: "one" }], pods: [{ id: "a", gpu: 8 }] };
    expect(why(given, "a")).toMatchObject({ placed: ["a on one (claimed)"], help: [], classes: [] });
    expect(why(given, "b").unknown).toBe(true);
  });

  test("each class and type with how many servers failed what, and what would help", () => {
    const given = {
      catalog: { ...H, s: { cpu: 16, mem: 64 } },
      hosts: [
        { type: "h", id: "one" },
        { type: "h", state: "quarantined" },
        { type: "s", n: 3 },
      ],
      pods: [{ id: "a", n: 2, gpu: 8 }],
    };
    const found = why(given, "a");
    expect(found.reason).toContain("no free host (type h: 0 of 2)");
    expect(found.classes.map(({ type, servers, because }) => [type, servers, because])).toEqual([
      [
        "h",
        2,
        expect.arrayContaining([
          { reason: "in use", count: 1 },
          { reason: "quarantined", count: 1 },
        ]),
      ],
      ["s", 3, [{ reason: "lacks nvidia.com/gpu", count: 3 }]],
    ]);
    expect(found.help).toEqual(["1 more free server of type h"]);
  });

  test.each<[string, object, string]>([
    [
      "a taint",
      { pools: [{ name: "p", taints: ["x=y:NoSchedule"] }], pods: [{ id: "a", gpu: 8 }] },
      "a toleration of x=y:NoSchedule in the pod",
    ],
    ["a selector", { pods: [{ id: "a", gpu: 8, sel: { zone: "z9" } }] }, "no requirement on zone in the pod"],
    ["too much", { pods: [{ id: "a", gpu: 9 }] }, "a request of at most 8 nvidia.com/gpu"],
    ["a limit", { pools: [{ name: "p", limits: { nodes: 0 } }], pods: [{ id: "a", gpu: 8 }] }, "higher limits of pool p"],
    [
      "quota",
      { tenants: [{ name: "t", nominal: 0, borrow: 0 }], pods: [{ id: "a", gpu: 8, tenant: "t" }] },
      "a nominal quota of t that is 1 higher",
    ],
    ["a plain pod", { pods: [{ id: "a", cpu: 1 }] }, "plain pods on accelerators in pool p"],
    ["a gate", { pods: [{ id: "a", gpu: 8, gates: ["wait"] }] }, "the scheduling gates wait removed"],
    ["the rack", { gangs: [{ id: "a", min: 2, pod: { gpu: 8 }, topo: { required: "rack" } }] }, "a gang that may span several of rack"],
    [
      "two things",
      { pools: [{ name: "p", taints: ["x=y:NoSchedule"] }], pods: [{ id: "a", gpu: 8, sel: { zone: "z9" } }] },
      "a toleration of x=y:NoSchedule in the pod, and no requirement on zone in the pod",
    ],
  ])("%s: what would help is found by trying", (_name, given, help) => {
    const hosts = [
      { type: "h", rack: "r1" },
      { type: "h", rack: "r2" },
    ];
    expect(why({ catalog: H, hosts, ...given }, "a").help[0]).toBe(help);
  });

  test("a pod with three wrong labels: all that it wishes is given up, and what need not be is taken back", () => {
    const hosts = [{ type: "h", zone: "z1", rack: "r1", block: "b1", leaf: "l1" }];
    const sel = { zone: "z9", rack: "r9", block: "b9", leaf: "l1" };
    const found = why({ catalog: H, hosts, pods: [{ id: "a", gpu: 8, sel }] }, "a");
    expect(found.help).toEqual([
      "no requirement on zone in the pod, and no requirement on rack in the pod, and no requirement on block in the pod",
    ]);
    expect(found.spent).toBeUndefined();
  });

  test("so many plans are made and no more; that is said", () => {
    const hosts = Array.from({ length: 40 }, (_, nth) => ({ type: "h", rack: `r${nth}` }));
    const found = why(
      {
        catalog: H,
        hosts,
        pods: [
          { id: "a", gpu: 8, sel: { zone: "z9" }, n: 1, anti: [{ key: "host", match: {} }] },
          { id: "b", n: 40, gpu: 8, prio: 9 },
        ],
      },
      "a",
    );
    expect(found.spent).toBe(150);
    expect(found.sheets[0]?.rows.find(([name]) => name === "tried")?.[1]).toContain("150 plans, as many as are made");
  });

  test("a pod that the work budget left over says so, and when it is looked at", () => {
    const pods = Array.from({ length: 20 }, (_, n) => ({ id: `p${n}`, cpu: 200 + n, mem: 1 }));
    const given = { catalog: H, hosts: [{ type: "h", id: "one" }], policy: { workBudget: 1 }, pods };
    const [left = ""] = simulate(given).outcome.leftOver;
    const found = why(given, left);
    expect(found.leftOver).toMatch(/work budget .* in turn, .* \([0-9]+ of them in this round\)/);
    expect(found.sheets[0]?.rows).toEqual([["not read", found.leftOver]]);
  });

  test("a server on its way out: the wait is said in seconds", () => {
    const given = { catalog: H, hosts: [{ type: "h", state: "wiping", readyInS: 240 }], pods: [{ id: "a", gpu: 8 }] };
    expect(why(given, "a").help[0]).toBe("to wait 240 s for servers on their way (policy.waitForWipeS)");
  });
});

test("the decision as tables, many pods in few words", () => {
  const given = { catalog: H, hosts: [{ type: "h", id: "one", rack: "r1" }], pods: [{ id: "w", n: 9, gpu: 1 }] };
  const sheets = sheetsOf(simulate(given).outcome);
  expect(sheets.map((one) => one.title)).toEqual(["Claims", "Waiting"]);
  expect(sheets[0]?.rows).toEqual([["one", "h", "p", "", "rack=r1", "Launching", "w-0, w-1, w-2, w-3, w-4, w-5 … 8 in all"]]);
});

import { describe, expect, test } from "vitest";
import { ONE } from "../../core/quantity.ts";
import { plan } from "./plan.ts";
import type { PendingPod, World } from "./world.ts";
import { claimed, machine, node, pod, podsOn, pool, tenant, world } from "./worlds.fixture.ts";

const BOX = { cpu: 64, memory: 512, gpu: 8 };
const HOST = "kubernetes.io/hostname";
const machines = Array.from({ length: 8 }, (_, n) => machine(`m${n}`, BOX));
const victim = tenant("victim", { pods: [pod("ok", { gpu: 8 })] });
const pools = [pool("p", { plainPodsOnAccelerators: true })];

/** A plan for a hostile tenant and one that wants a server; how long it took is left to the test's own limit. */
function against(pods: readonly PendingPod[]) {
  const result = plan(world(machines, tenant("hostile", { pods, pools }), victim));
  const count = (list: readonly { readonly tenant: string; readonly pods: readonly string[] }[] = []) =>
    list.filter((one) => one.tenant === "acme.hostile").reduce((sum, one) => sum + one.pods.length, 0);
  return {
    victim: result.placements.some((one) => one.tenant === "acme.victim" && one.pods.includes("default/ok")),
    placed: count(result.placements),
    refused: count(result.refusals),
    rest: count(result.rest),
  };
}

describe("a hostile tenant neither stalls the plan nor starves others", { timeout: 30_000 }, () => {
  test("2,000 kinds of a thousand alternatives each: what is beyond the weight waits for the next round", () => {
    const terms = (n: number) => Array.from({ length: 1_000 }, (_, i) => [{ key: `z${i}`, operator: "In" as const, values: [`${n}`] }]);
    const result = against(Array.from({ length: 2_000 }, (_, n) => pod(`p${n}`, { cpu: 1 }, { terms: terms(n) })));
    expect(result).toMatchObject({ victim: true, placed: 0 });
    expect(result.rest).toBeGreaterThan(1_900);
    expect(result.rest + result.refused).toBe(2_000);
  });

  test("equal pods are weighed once, and light ones never", () => {
    const heavy = Array.from({ length: 500 }, (_, i) => [{ key: HOST, operator: "NotIn" as const, values: [`x${i}`] }]);
    const equal = Array.from({ length: 300 }, (_, n) => pod(`p${n}`, { cpu: 1 }, { terms: heavy.map((term) => [...term]) }));
    const light = Array.from({ length: 3_000 }, (_, n) => pod(`l${n}`, {}, { tolerations: [{ key: `k${n}` }] }));
    expect(against([...equal, ...light].slice(0, 700))).toMatchObject({ victim: true, placed: 700, rest: 0 });
    expect(against(light).rest).toBe(0);
  });

  test("a label bomb: each pod has labels of its own, and 20 selectors of its own kind", () => {
    const own = (n: number) => Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`l${i}`, `${n}`]));
    const anti = (n: number) => Array.from({ length: 20 }, (_, i) => ({ key: HOST, selector: { matchLabels: { [`l${i}`]: `${n}` } } }));
    const result = against(
      Array.from({ length: 2_000 }, (_, n) => ({ ...pod(`p${n}`, { cpu: 0.01 }, { antiAffinity: anti(n) }), labels: own(n) })),
    );
    expect(result.victim).toBe(true);
    expect(result.placed + result.refused + result.rest).toBe(2_000);
  });

  test("selectors that no label tells: as many as a plan asks, the rest waits", () => {
    const not = (n: number) => [
      { key: HOST, selector: { matchExpressions: [{ key: "app", operator: "NotIn" as const, values: [`${n}`] }] } },
    ];
    const pods = Array.from({ length: 3_000 }, (_, n) => ({
      ...pod(`p${n}`, { cpu: 1 }, { antiAffinity: not(n) }),
      labels: { app: `${n}` },
    }));
    const result = against(pods);
    expect(result.victim).toBe(true);
    expect(result.placed + result.refused + result.rest).toBe(3_000);
  });

  test("10^18 GPUs, and a pod too large for any server: refused, with what they lack", () => {
    const greedy = {
      ...pod("greedy", {}),
      needs: { ...pod("greedy", {}).needs, requests: new Map([["nvidia.com/gpu", 10n ** 18n * ONE]]) },
    };
    expect(against(Array.from({ length: 1_000 }, (_, n) => ({ ...greedy, key: `default/g${n}` })))).toMatchObject({
      victim: true,
      refused: 1_000,
    });
    const reasons = plan(world(machines, tenant("a", { pods: [greedy, pod("large", { cpu: 1_000 })] }))).refusals;
    expect(reasons.map((one) => one.reason).sort()).toEqual([
      "pool p: 0/8 machines: 8 too small (cpu)",
      "pool p: 0/8 machines: 8 too small (nvidia.com/gpu)",
    ]);
  });

  test("only accelerator hosts are left for who would fit on them, and for nobody else", () => {
    const reason = (cpu: number) => plan(world(machines, tenant("a", { pods: [pod("x", { cpu })] }))).refusals[0]?.reason;
    expect(reason(1)).toContain("only accelerator hosts left");
    expect(reason(65)).not.toContain("only accelerator hosts left");
  });

  test("running pods with anti-affinity of their own: counted as far as a plan weighs them", () => {
    const pods = Array.from({ length: 3_000 }, (_, n) => ({
      key: `default/r${n}`,
      labels: { app: `${n}` },
      priority: 0,
      needs: pod("r", {}, { antiAffinity: [{ key: HOST, selector: { matchLabels: { app: `${n}` } } }] }).needs,
    }));
    const nodes = [node("n", BOX, { pods })];
    const result = plan(world(machines, tenant("hostile", { nodes, pools, pods: [pod("x", { cpu: 1 })] }), victim));
    expect(podsOn(result, "n")).toEqual(["x"]);
    expect(Object.values(claimed(result))).toEqual([["ok"]]);
  });
});

describe("what a budget cuts off has its turn", { timeout: 30_000 }, () => {
  const heavy = (name: string, key: string, priority: number) =>
    pod(
      name,
      { cpu: 1 },
      { terms: Array.from({ length: 800 }, (_, i) => [{ key, operator: "In" as const, values: [i === 0 ? "yes" : `${name}${i}`] }]) },
      { priority },
    );
  const others = Array.from({ length: 60 }, (_, n) => tenant(`t${n}`, { pods: [pod("x", { gpu: 8 })] }));
  const labelled = machines.map((one) => ({ ...one, nodeLabels: { ...one.nodeLabels, good: "yes" } }));

  /** Which pods of tenant `a` have been looked at and placed, after so many rounds so far apart. */
  function looked(rounds: number, stepS: number, at: (now: number) => World) {
    const [{ pods } = { pods: [] }] = at(0).tenants;
    const seen = new Set<string>();
    const placed = new Set<string>();
    for (let nth = 0; nth < rounds && seen.size < pods.length; nth += 1) {
      const { rest = [], placements } = plan(at(1_790_000_000 + nth * stepS));
      const late = new Set(rest.flatMap((one) => one.pods));
      expect(late.size).toBeGreaterThan(0);
      for (const { key } of pods) if (!late.has(key)) seen.add(key);
      for (const one of placements) if (one.tenant === "acme.a") for (const key of one.pods) placed.add(key);
    }
    return { seen: seen.size, placed: [...placed] };
  }

  test.each([1, 5, 10, 60])("pods that say too much, every %i s: behind those that are read first and never placed", (stepS) => {
    const pods = [...Array.from({ length: 9 }, (_, n) => heavy(`bad${n}`, "bad", 10)), heavy("good", "good", 0)];
    const at = (now: number) => ({ ...world(labelled, tenant("a", { pods, pools }), ...others), now });
    expect(looked(40, stepS, at)).toEqual({ seen: 10, placed: ["default/good"] });
  });

  test("kinds that are too much work: behind those that are tried first and find no place", () => {
    const pods = Array.from({ length: 20 }, (_, n) => pod(`p${n}`, { cpu: 65 + n }));
    const at = (now: number) => ({ ...world(machines, tenant("a", { pods, pools })), policy: { work: 2 }, now });
    expect(looked(60, 10, at).seen).toBe(20);
  });
});

test("tenants that want nothing take nothing of a tenant's budgets, nodes or not", { timeout: 30_000 }, () => {
  const terms = (n: number) => Array.from({ length: 1_000 }, (_, i) => [{ key: `z${i}`, operator: "In" as const, values: [`${n}`] }]);
  const busy = tenant("a", { pods: Array.from({ length: 60 }, (_, n) => pod(`p${n}`, { cpu: 1 }, { terms: terms(n) })), pools });
  const idle = Array.from({ length: 50 }, (_, n) =>
    tenant(`idle${n}`, { nodes: n % 5 === 0 ? [node(`idle${n}`, BOX, { pool: "p" })] : [] }),
  );
  const alone = plan(world(machines, busy));
  expect(alone.rest).toHaveLength(1);
  expect(plan(world(machines, busy, ...idle))).toEqual(alone);
  const work = { policy: { work: 1_000_000 } };
  expect(plan({ ...world(machines, busy, ...idle), ...work })).toEqual(plan({ ...world(machines, busy), ...work }));
});

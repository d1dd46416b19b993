import { describe, expect, test } from "vitest";
import { ONE } from "../../core/quantity.ts";
import { plan } from "./plan.ts";
import type { PendingPod } from "./world.ts";
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

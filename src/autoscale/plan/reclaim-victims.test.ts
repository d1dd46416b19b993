import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { judged, leastVictims, type Protection, type Victim } from "./reclaim-victims.ts";
import type { NodeSupply, RunningPod } from "./world.ts";
import { needs, node } from "./worlds.fixture.ts";

const BOX = { cpu: 192, memory: 2048, gpu: 8 };
const NONE: Protection = { minRuntimeS: 0, expendableBelow: Number.NEGATIVE_INFINITY };

function running(priority: number, more: Partial<RunningPod> = {}): RunningPod {
  return { key: "default/x", labels: {}, priority, needs: needs({ gpu: 8 }), ...more };
}

function busy(name: string, priority: number, ageS: number, more: Partial<NodeSupply> = {}): NodeSupply {
  return node(name, BOX, { ageS, pods: [running(priority)], ...more });
}

function victims(nodes: readonly NodeSupply[], protection: Protection = NONE, tenant = "acme.a"): Victim[] {
  return nodes.flatMap((one) => {
    const victim = judged(one, protection);
    return typeof victim === "string" ? [] : [{ ...victim, tenant, amount: 1 }];
  });
}

function names(list: readonly Victim[] | undefined): string[] | undefined {
  return list?.map((one) => one.node.name);
}

const ALL = () => ({ busy: Number.POSITIVE_INFINITY, idle: Number.POSITIVE_INFINITY });
const count = (least: number) => (list: readonly Victim[]) => list.length >= least;

describe("who must go", () => {
  const four = [busy("a1", 10, 9_000), busy("a2", 10, 8_000), busy("a3", 0, 7_000), busy("a4", 0, 6_000)];

  test("the lowest priority, then the newest; no more than its tenant borrowed", () => {
    expect(names(leastVictims(victims(four), ALL, count(1)))).toEqual(["a4"]);
    expect(names(leastVictims(victims(four), ALL, count(3)))).toEqual(["a4", "a3", "a2"]);
    expect(names(leastVictims(victims(four), () => ({ busy: 2, idle: 2 }), count(2)))).toEqual(["a4", "a3"]);
    expect(leastVictims(victims(four), () => ({ busy: 2, idle: 2 }), count(3))).toBeUndefined();
    expect(names(leastVictims(victims(four), ALL, count(0)))).toEqual([]);
  });

  test("idle nodes before busy ones, and only what has settled", () => {
    const idle = node("idle", BOX, { emptyForS: 120, ageS: 9_999 });
    expect(names(leastVictims(victims([...four, idle]), ALL, count(1)))).toEqual(["idle"]);
    expect(judged({ ...idle, emptyForS: 19 }, NONE)).toMatchObject({ idle: false });
    expect(names(leastVictims(victims([...four, idle]), () => ({ busy: 1, idle: 0 }), count(1)))).toEqual(["a4"]);
  });

  test("the minimum runtime protects, of the pod where it is known", () => {
    const least = { ...NONE, minRuntimeS: 1_800 };
    expect(judged(busy("n", 0, 600), least)).toBe("minimum runtime");
    expect(judged(busy("n", 0, 9_000, { pods: [running(0, { ageS: 60 })] }), least)).toBe("minimum runtime");
    expect(judged(busy("n", 0, 9_000, { pods: [running(-5, { ageS: 60 })] }), { ...least, expendableBelow: 0 })).toMatchObject({
      idle: true,
    });
    expect(judged(busy("n", 0, 1_800), least)).toMatchObject({ forced: false });
    expect(judged(node("coming", BOX, { initialized: false, ageS: 60 }), least)).toBe("minimum runtime");
  });

  test("budgets and do-not-disrupt are honoured; with a grace period such nodes come last", () => {
    const shy = busy("shy", 0, 60, { pods: [running(0, { doNotDisrupt: true })] });
    const blocked = busy("blocked", 0, 60, { pods: [running(0, { blockedBy: "quorum" })] });
    expect(
      [shy, blocked, busy("kept", 0, 60, { doNotDisrupt: true }), busy("gone", 0, 60, { leaving: true })].map((one) => judged(one, NONE)),
    ).toEqual(["do-not-disrupt", "disruption budget quorum", "do-not-disrupt", "on its way out"]);
    const graceful = { ...NONE, graceS: 600 };
    expect(names(leastVictims(victims([shy, ...four], graceful), ALL, count(1)))).toEqual(["a4"]);
    expect(names(leastVictims(victims([shy, ...four], graceful), ALL, count(5)))).toEqual(["a4", "a3", "a2", "a1", "shy"]);
  });

  test("of one priority those that break no gang first, then gang by gang, the gang with the youngest node first", () => {
    const [old = [], young = [], alone = [], low = []] = [
      [busy("k1", 0, 2_000), busy("k2", 0, 9_000)],
      [busy("g1", 0, 1_000), busy("g2", 0, 8_000)],
      [busy("s", 0, 5_000)],
      [busy("l", -1, 9_999)],
    ].map((nodes) => victims(nodes));
    const inGang = (list: readonly Victim[], gangs: string, ageS: number) => list.map((one) => ({ ...one, breaks: { gangs, ageS } }));
    const all = [...inGang(old, "a/k", 2_000), ...inGang(young, "a/g", 1_000), ...alone, ...inGang(low, "a/l", 9_999)];
    expect(names(leastVictims(all, ALL, count(6)))).toEqual(["l", "s", "g1", "g2", "k1", "k2"]);
  });

  test("who is not needed after all stays", () => {
    const needsBoth = (list: readonly Victim[]) => ["a1", "a3"].every((name) => names(list)?.includes(name));
    expect(names(leastVictims(victims(four), ALL, needsBoth))).toEqual(["a3", "a1"]);
  });

  test("law: what is chosen is enough, nobody of it could stay, and no tenant loses more than it may", () => {
    const one = fc.record({
      priority: fc.integer({ min: 0, max: 3 }),
      age: fc.nat(9),
      tenant: fc.constantFrom("a", "b"),
      size: fc.integer({ min: 1, max: 3 }),
      idle: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), fc.nat(6), fc.nat(6), fc.nat(10), (list, a, b, least) => {
        const candidates = list.flatMap(({ priority, age, tenant, size, idle }, n) => {
          const made = idle ? node(`n${n}`, BOX, { ageS: age }) : busy(`n${n}`, priority, age);
          return victims([made], NONE, tenant).map((victim) => ({ ...victim, amount: size }));
        });
        const allowance = (tenant: string) => ({ busy: tenant === "a" ? a : b, idle: (tenant === "a" ? a : b) + 1 });
        const sum = (of: readonly Victim[]) => of.reduce((all, victim) => all + victim.amount, 0);
        const enough = (of: readonly Victim[]) => sum(of) >= least;
        const chosen = leastVictims(candidates, allowance, enough);
        if (chosen === undefined) return;
        expect(enough(chosen)).toBe(true);
        for (const left of chosen) expect(enough(chosen.filter((victim) => victim !== left))).toBe(false);
        for (const tenant of ["a", "b"]) {
          const mine = chosen.filter((victim) => victim.tenant === tenant);
          expect(sum(mine)).toBeLessThanOrEqual(allowance(tenant).idle);
          if (mine.some((victim) => !victim.idle)) expect(sum(mine)).toBeLessThanOrEqual(allowance(tenant).busy);
        }
      }),
      { numRuns: 300 },
    );
  });
});

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { lineOf, readCases, replay, tally } from "./index.ts";
import { simulate } from "./replay.ts";
import { retold } from "./shuffle.ts";

/** Cases of the project: inputs and the decision that is right, judged one by one. */
const casesOf = (name: string) => readCases(readFileSync(new URL(`../../../test/scheduling/${name}`, import.meta.url), "utf8"), name);

describe.each(["cases.json", "more-cases.json"])("%s", (name) => {
  const cases = casesOf(name);

  test.each(cases.map((one) => [one.id, one.title] as const))("%s %s", (id) => {
    const [result] = replay(cases, (one) => one.id === id, 8);
    expect(result && lineOf(result)).not.toMatch(/^FAIL/);
    expect(result?.verdicts.some((one) => one.verdict === "passed")).toBe(true);
  });
});

test("of cases.json all is judged but two notes", () => {
  const results = replay(casesOf("cases.json"), undefined, 1);
  expect(tally(results)).toEqual({ passed: 96, failed: 0, unjudged: 2 });
  const unjudged = results.flatMap(({ id, verdicts }) => verdicts.filter((one) => one.verdict === "unjudged").map(({ key }) => [id, key]));
  expect(unjudged).toEqual([
    ["E07", "note"],
    ["K05", "note"],
  ]);
});

const judged = (scenario: object, id = "x") => replay(readCases(JSON.stringify([{ id, ...scenario }]), "test"));
const catalog = { s: { cpu: 16, mem: 64 } };

describe("the judge", () => {
  test("says what differs, and does not count prose as passed", () => {
    const results = judged({
      given: { catalog, pods: [{ id: "a", cpu: 1 }] },
      expect: { newNodes: 2, byType: { s: 1 }, note: "whatever", never: ["the sky falls", "a pending"] },
    });
    expect(results[0]?.verdicts).toEqual([
      { key: "newNodes", verdict: "failed", detail: "expected 2 new nodes, got 1" },
      { key: "byType", verdict: "passed" },
      { key: "note", verdict: "unjudged", detail: "whatever" },
      { key: "never", verdict: "unjudged", detail: "the sky falls" },
      { key: "never", verdict: "passed" },
    ]);
    expect(tally(results)).toEqual({ passed: 2, failed: 1, unjudged: 2 });
  });

  test.each<[string, object]>([
    ["newNodes", { newNodes: 3 }],
    ["byZone", { byZone: { z9: 1 } }],
    ["byType", { byType: ["s", "s", "s"] }],
    ["pending", { pending: ["a"] }],
    ["pending", { pending: "a" }],
    ["pending", { pending: ">=1" }],
    ["placed", { placed: 7 }],
    ["reason", { reason: "because" }],
    ["groups", { groups: [["a"], ["b"]] }],
    ["bind", { bind: { a: "n9" } }],
    ["place", { place: { a: "r9" } }],
    ["host", { host: "nobody" }],
    ["claimState", { claimState: "AwaitingHost" }],
    ["claimState", { claimState: ["Launching", "Launching"] }],
    ["block", { block: "b9" }],
    ["byPool", { byPool: { p: "<1" } }],
    ["act", { act: ["delete n1"] }],
    ["deleteCount", { deleteCount: 1 }],
    ["never", { never: ["s chosen"] }],
    ["oneZone", { oneZone: false }],
    ["OneOf", { OneOf: [{ newNodes: 3 }, { newNodes: 4 }] }],
    ["refused", { refused: ["pods[3]"] }],
  ])("%s can fail", (key, expected) => {
    const [result] = judged({
      given: {
        catalog,
        pods: [
          { id: "a", cpu: 1 },
          { id: "b", cpu: 1 },
        ],
      },
      expect: expected,
    });
    expect(result?.verdicts.map((one) => [one.key, one.verdict])).toEqual([[key, "failed"]]);
  });

  test.each([
    ["both n2 and n3 deleted", "failed"],
    ["n2 and n3 are both deleted", "failed"],
    ["both n1 and n2 deleted", "passed"],
    ["any node deleted", "failed"],
    ["a server is wiped", "passed"],
    ["a on n1", "failed"],
    ["a on n2", "passed"],
    ["nobody on n1", "unjudged"],
    ["g split", "unjudged"],
  ])("never: %s", (sentence, verdict) => {
    const nodes = ["n1", "n2", "n3"].map((name) => ({ name, type: "s", empty_s: 60 }));
    const policy = { budgets: ["100%"] };
    const [result] = judged({
      given: { disrupt: true, catalog, nodes, policy, pods: [{ id: "a", cpu: 1 }] },
      expect: { never: [sentence] },
    });
    expect(result?.verdicts.map((one) => one.verdict)).toEqual([verdict]);
  });

  test("a case that throws or names another that is not there fails alone", () => {
    const results = replay(
      readCases(
        '[{"id": "a", "given": {"replay": "b after its end"}, "expect": {"newNodes": 0}}, {"id": "c", "given": {"catalog": {}}, "expect": {"newNodes": 0}}]',
        "test",
      ),
    );
    expect(results.map((one) => one.verdicts[0]?.verdict)).toEqual(["failed", "passed"]);
  });

  test("the line of a case that fails names what of it was not taken", () => {
    const [result] = judged({
      given: {
        catalog,
        pods: [
          { id: "a", cpu: 1, colour: "red" },
          { id: "b", cpu: "lots" },
        ],
      },
      expect: { newNodes: 2 },
    });
    const line = result && lineOf(result);
    expect(line).toContain("ignored given.pods[0].colour");
    expect(line).toContain('refused given.pods[1].cpu: "lots" is not a quantity of zero or more');
    const [fine] = judged({ given: { catalog, pods: [{ id: "a", cpu: 1, colour: "red" }] }, expect: { newNodes: 1 } });
    expect(fine && lineOf(fine)).not.toContain("ignored");
  });

  test("a variant whose change nobody understands is not judged", () => {
    const [result] = judged({ given: { catalog }, expect: { newNodes: 0, variant: { moonPhase: "full", expect: { newNodes: 0 } } } });
    expect(result?.verdicts.map((one) => one.verdict)).toEqual(["passed", "unjudged"]);
  });
});

describe("whatever the order in which a scenario is told", () => {
  const pods = [
    { id: "b", cpu: 12 },
    { id: "a", cpu: 12 },
    { id: "bad", cpu: "lots" },
  ];
  const running = [
    { id: "c", cpu: 8 },
    { id: "d", cpu: 8 },
  ];
  const given = { catalog, hosts: [{ type: "s" }], pods, nodes: [{ name: "n", type: "s", pods: running }] };

  test("an answer that changes with it fails", () => {
    const cases = readCases(JSON.stringify([{ id: "x", given, expect: { newNodes: 1 } }]), "test");
    const firstAlone: typeof simulate = (raw, all, seed) => {
      const told = seed === undefined ? raw : retold(raw, seed);
      return simulate({ ...told, pods: Array.isArray(told.pods) ? told.pods.slice(0, 1) : [] }, all);
    };
    const [result] = replay(cases, undefined, 20, firstAlone);
    expect(result?.verdicts.map((one) => [one.key, one.verdict])).toEqual([
      ["newNodes", "passed"],
      ["same answer whatever the order", "failed"],
    ]);
    expect(result && lineOf(result)).toMatch(/^FAIL .*shuffled with seed [0-9]+/);
  });

  test("it is read in another order, and the planner told in another yet", () => {
    const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
    const ways = (seen: (run: ReturnType<typeof simulate>) => unknown) =>
      new Set(seeds.map((seed) => JSON.stringify(seen(simulate(given, [], seed))))).size;
    expect(ways(({ refused }) => refused)).toBe(3);
    expect(ways(({ world }) => world.tenants[0]?.pods.map((pod) => pod.key))).toBe(2);
    expect(ways(({ outcome }) => outcome)).toBe(1);
    expect(new Set(seeds.map((seed) => JSON.stringify(retold(given, seed).nodes))).size).toBe(2);
  });
});

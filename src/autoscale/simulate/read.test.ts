import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readCases, readGiven } from "./read.ts";
import { simulate } from "./replay.ts";
import { toleration } from "./terms.ts";

test("a file is a scenario, a case, a list of cases, in YAML or JSON", () => {
  const ids = (text: string) => readCases(text, "test").map((one) => [one.id, Object.keys(one.given)]);
  expect(ids("catalog: {s: {cpu: 1}}\npods: []\n")).toEqual([["case 1", ["catalog", "pods"]]]);
  expect(ids('{"id": "x", "given": {"pods": []}}')).toEqual([["x", ["pods"]]]);
  expect(ids("- {id: a, given: {}}\n- {id: b, given: {}}\n")).toEqual([
    ["a", []],
    ["b", []],
  ]);
  expect(ids("cases: [{id: a, given: {}}]")).toEqual([["a", []]]);
});

test.each(["", "nothing", "[1]", "{", "[{}]"])("%j is no scenario", (text) => {
  expect(() => readCases(text, "test")).toThrow(expect.objectContaining({ code: "IRW_SCENARIO_INVALID" }));
});

describe("what is wrong is refused alone, with its path and the reason", () => {
  test.each<[object, string]>([
    [{ pods: [{ id: "a", cpu: "lots" }] }, 'given.pods[0].cpu: "lots" is not a quantity of zero or more'],
    [{ pods: [{ id: "a", cpu: -1 }] }, "given.pods[0].cpu: -1 is not a quantity of zero or more"],
    [{ pods: [{ id: "a", req: [[["zone", "Near", "z1"]]] }] }, 'given.pods[0].req[0][0]: "Near" is no operator'],
    [{ pods: [{ id: "a", req: [[["vram", "Gt", "many"]]] }] }, "given.pods[0].req[0][0]: Gt needs exactly one integer"],
    [{ pools: [{ name: "p", taints: ["x"] }] }, 'given.pools[0].taints[0]: "x" is no taint; expected key=value:Effect'],
    [{ hosts: [{ type: "nobody" }] }, "given.hosts[0].type: the catalog has no type nobody"],
    [{ nodes: [{ name: "n", type: "nobody" }] }, "given.nodes[n].type: the catalog has no type nobody"],
    [{ gangs: [{ id: "g", min: 4, size: 2, pod: {} }] }, "given.gangs[g].size: is less than its min of 4"],
    [{ pods: "many" }, "given.pods: expected a list"],
    [{ tenants: [{ name: "a" }, { name: "a" }] }, "given.tenants[a].name: there is another of this name"],
  ])("%j", (given, problem) => {
    const read = readGiven({ ...given, daemons: [{ id: "fine", cpu: 1 }] });
    expect(read.refused.map((one) => `${one.path}: ${one.reason}`)).toContain(problem);
    expect(read.daemons).toHaveLength(1);
  });
});

test("a key nobody knows is named in a bare scenario, and beside what a case gives", () => {
  const only = (text: string) =>
    readCases(text, "test").map((one) => [...one.ignored, ...readGiven(one.given).ignored].map(({ path }) => path));
  expect(only("catalog: {s: {cpu: 1}}\nhoste: [{type: s}]\n")).toEqual([["given.hoste"]]);
  expect(only("[{id: a, title: t, note: n, given: {moon: 1}, expct: {newNodes: 1}}]")).toEqual([["expct", "given.moon"]]);
  expect(only("catalog: {s: {cpu: 1}}\nid: a\nexpect: {newNodes: 0}\n")).toEqual([[]]);
});

test("keys that would do nothing are none", () => {
  const read = readGiven({
    catalog: { s: { cpu: 1 } },
    nodes: [{ name: "n", type: "s", readyInS: 5 }],
    pods: [{ id: "a", graceS: 30 }],
  });
  expect(read.ignored.map((one) => one.path)).toEqual(["given.nodes[0].readyInS", "given.pods[0].graceS"]);
});

test("a key nobody knows is named and the rest is taken", () => {
  const read = readGiven({ pods: [{ id: "a", cpu: 1, colour: "red", spread: [{ key: "zone", hue: 1 }] }], moon: 1 });
  expect(read.ignored.map((one) => one.path)).toEqual(expect.arrayContaining(["given.pods[0].colour", "given.moon"]));
  expect(read.pods).toHaveLength(1);
});

test("tolerations in short", () => {
  expect(toleration.parse("a=b:NoSchedule")).toEqual({ key: "a", operator: "Equal", value: "b", effect: "NoSchedule" });
  expect(toleration.parse("a=b")).toEqual({ key: "a", operator: "Equal", value: "b" });
  expect(toleration.parse("a:NoExecute")).toEqual({ key: "a", operator: "Exists", effect: "NoExecute" });
  expect(toleration.parse("a")).toEqual({ key: "a", operator: "Exists" });
  expect(toleration.parse("*")).toEqual({ operator: "Exists" });
  expect(toleration.parse(["a", "Exists"])).toEqual({ key: "a", operator: "Exists" });
});

test("whatever is in the lists, reading and deciding do not throw", () => {
  const junk = fc.anything({ maxDepth: 2, withBigInt: false });
  const pod = fc.record({ id: fc.string(), cpu: junk, req: junk, tol: junk, spread: junk, n: fc.nat(3) }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.array(fc.oneof(pod, junk), { maxLength: 4 }), junk, junk, (pods, hosts, pools) => {
      const raw = JSON.parse(JSON.stringify({ catalog: { s: { cpu: 4 } }, pods, hosts, pools })) as Record<string, unknown>;
      expect(() => simulate(raw)).not.toThrow();
    }),
    { numRuns: 60 },
  );
});

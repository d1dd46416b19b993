import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { lineOf, readCases, replay, tally } from "./index.ts";

/** Cases of the project: inputs and the decision that is right, judged one by one. */
const file = (name: string) => new URL(`../../../test/scheduling/${name}`, import.meta.url);

describe.each(["cases.json", "more-cases.json"])("%s", (name) => {
  const cases = readCases(readFileSync(file(name), "utf8"), name);

  test.each(cases.map((one) => [one.id, one.title] as const))("%s %s", (id) => {
    const [result] = replay(cases, (one) => one.id === id, 8);
    expect(result && lineOf(result)).not.toMatch(/^FAIL/);
    expect(result?.verdicts.some((one) => one.verdict === "passed")).toBe(true);
  });
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
    ["placed", { placed: 7 }],
    ["reason", { reason: "because" }],
    ["groups", { groups: [["a"], ["b"]] }],
    ["bind", { bind: { a: "n9" } }],
    ["place", { place: { a: "r9" } }],
    ["host", { host: "nobody" }],
    ["claimState", { claimState: "AwaitingHost" }],
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

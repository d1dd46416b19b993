import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { fileOf } from "./simulate.ts";

const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));

function simulate(input: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(launcher, ["simulate", ...args], { encoding: "utf8", input });
  return { status, stdout, stderr };
}

const SCENARIO = `
catalog: {s: {cpu: 16, mem: 64}}
hosts: [{type: s, id: one}]
pods: [{id: a, cpu: 12}, {id: b, cpu: 12}, {id: c, cpu: lots}]
`;

test("a scenario on standard input, as a table and as JSON; what is invalid is said", () => {
  const { status, stdout } = simulate(SCENARIO, "-f", "-");
  expect(status).toBe(0);
  expect(stdout).toContain('refused given.pods[2].cpu: "lots" is not a quantity of zero or more');
  expect(stdout).toMatch(/SERVER +TYPE +POOL[^\n]*\n +one +s +p +Launching +a/);
  expect(stdout).toMatch(/Waiting\n[^\n]*\n +b +no free host \(type s: 0 of 1\)/);
  // without -f too
  const json = JSON.parse(simulate(SCENARIO, "-o", "json").stdout);
  expect(json).toMatchObject({
    newNodes: [{ node: "one", state: "Launching" }],
    pending: [{ pods: [{ pod: "b" }] }],
    refused: [{ path: "given.pods[2].cpu" }],
  });
}, 60_000);

test("--replay judges: the exit status is 0 only if nothing judged fails", () => {
  const given = { catalog: { s: { cpu: 16, mem: 64 } }, pods: [{ id: "a", cpu: 1 }] };
  const cases = (newNodes: number) => JSON.stringify([{ id: "X1", title: "one", given, expect: { newNodes, note: "prose" } }]);
  const good = simulate(cases(1), "--replay", "-");
  expect([good.status, good.stdout]).toEqual([
    0,
    "ok   X1    1/1 (+1 not judged)  one\n\njudged and passed: 1\njudged and failed: 0\nnot judged: 1\n",
  ]);
  const bad = simulate(cases(2), "--replay", "-");
  expect([bad.status, bad.stdout.split("\n")[0]]).toEqual([
    1,
    "FAIL X1    0/1 (+1 not judged)  one — newNodes: expected 2 new nodes, got 1",
  ]);
}, 60_000);

test("which file is read: one that is named, else standard input where nobody types", () => {
  expect(fileOf({ file: "a.yaml" }, true)).toBe("a.yaml");
  expect(fileOf({ replay: "b.json" }, false)).toBe("b.json");
  expect(fileOf({}, false)).toBe("-");
  const refused = expect.objectContaining({ code: "IRW_SCENARIO_CHOICE" });
  expect(() => fileOf({}, true)).toThrow(refused);
  expect(() => fileOf({ file: "a", replay: "b" }, false)).toThrow(refused);
});

test("what is no scenario is an error with a code", () => {
  expect(simulate(SCENARIO, "--case", "nobody")).toMatchObject({ status: 1, stderr: expect.stringContaining("IRW_SCENARIO_CHOICE") });
  expect(simulate("just words", "-f", "-")).toMatchObject({ status: 1, stderr: expect.stringContaining("IRW_SCENARIO_INVALID") });
}, 60_000);

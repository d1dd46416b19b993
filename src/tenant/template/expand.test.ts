import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ParameterSchema, Parameters } from "../../core/virtual-clusters.ts";
import { expand, overlaid, type Tree } from "./expand.ts";

function expanded(template: Tree, parameters: Readonly<Record<string, ParameterSchema>> = {}, given: Parameters = {}) {
  const problems: string[] = [];
  const spec = expand({ template, parameters }, given, problems);
  return problems.length > 0 ? problems : spec;
}

test("a string that is one parameter becomes it, others hold it as text", () => {
  const parameters = { pids: { type: "integer" }, hour: { type: "integer", default: 20 }, paused: { type: "boolean" } } as const;
  const template = {
    resources: { pids: "${pids}" },
    sleep: { paused: "${paused}", schedule: [{ sleep: "0 ${hour} * * *", wake: "@daily" }] },
  };
  expect(expanded(template, parameters, { pids: "512", paused: "true" })).toEqual({
    resources: { pids: 512 },
    sleep: { paused: true, schedule: [{ sleep: "0 20 * * *", wake: "@daily" }] },
  });
});

test("$${ stands for ${; what is filled in is not looked at again", () => {
  const parameters = { a: { type: "string" }, b: { type: "string", default: "B" } } as const;
  expect(expanded({ x: "$${a}", y: "${a}", z: "<${a}${b}>" }, parameters, { a: "${b}" })).toEqual({ x: "${a}", y: "${b}", z: "<${b}B>" });
});

describe("what is wrong says where", () => {
  const of = (schema: ParameterSchema, given?: string | number | boolean) =>
    expanded({ version: "${p}" }, { p: schema }, given === undefined ? {} : { p: given });
  test.each<[ParameterSchema, string | number | boolean | undefined, string]>([
    [
      { type: "string", description: "who it is for" },
      undefined,
      "spec.templateRef.parameters.p: missing; expected a text (who it is for)",
    ],
    [{ type: "string", enum: ["s", "m"] }, "l", 'spec.templateRef.parameters.p: expected one of s, m, got "l"'],
    [{ type: "string", pattern: "[a-z]+" }, "A", 'spec.templateRef.parameters.p: expected a text such as [a-z]+, got "A"'],
    [{ type: "string", max: 3 }, "four", 'spec.templateRef.parameters.p: expected at most 3 characters, got "four"'],
    [{ type: "string" }, "x".repeat(1_025), "spec.templateRef.parameters.p: expected a text"],
    [{ type: "integer" }, "many", 'spec.templateRef.parameters.p: expected a whole number, got "many"'],
    [{ type: "integer", min: 1, max: 3 }, 4, "spec.templateRef.parameters.p: expected at most 3, got 4"],
    [{ type: "integer" }, 1.5, "spec.templateRef.parameters.p: expected a whole number, got 1.5"],
    [{ type: "boolean" }, "yes", "spec.templateRef.parameters.p: expected true or false"],
    [{ type: "quantity", min: "1Gi" }, "512Mi", 'spec.templateRef.parameters.p: expected at least 1Gi, got "512Mi"'],
    [{ type: "quantity" }, "lots", "spec.templateRef.parameters.p: expected a quantity"],
    [{ type: "duration", max: "8h" }, "9h", 'spec.templateRef.parameters.p: expected at most 8h, got "9h"'],
    [{ type: "string", default: "l", enum: ["s"] }, undefined, "the template's spec.parameters.p.default: expected one of s"],
    [{ type: "string", pattern: "(" }, "a", 'the template\'s spec.parameters.p.pattern: "(": it ends too early'],
    [{ type: "integer", pattern: "a" }, 1, "the template's spec.parameters.p.pattern: is for strings"],
    [{ type: "integer", min: "few" }, 1, "the template's spec.parameters.p.min: expected a whole number"],
    [{ type: "boolean", max: 1 }, true, "the template's spec.parameters.p.max: a truth value has none"],
    [{ type: "integer", enum: [1, "two"] }, 1, "the template's spec.parameters.p.enum: expected a whole number"],
  ])("%j given %j", (schema, given, says) => {
    expect(of(schema, given)).toEqual([expect.stringContaining(says)]);
  });

  test("names: of parameters that are not there, in the reference and in the template", () => {
    expect(expanded({}, { a: { type: "string", default: "" } }, { b: 1 })).toEqual([
      "spec.templateRef.parameters.b: the template has no such parameter; it has a",
    ]);
    expect(expanded({ sleep: { schedule: [{ sleep: "${x}" }] }, ttl: "1${" })).toEqual([
      'the template\'s spec.template.sleep.schedule[0].sleep: there is no parameter "x"; there is none',
      "the template's spec.template.ttl: ${ is not closed; write $${ for the characters",
    ]);
    expect(expanded({}, { "a-b": { type: "string" } })).toEqual([expect.stringContaining("expected a name of letters")]);
    expect(expanded({ x: "${constructor}${__proto__}" })).toHaveLength(2);
    expect(expanded({}, {}, JSON.parse('{"__proto__": "x"}') as Parameters)).toHaveLength(1);
  });

  test("a template that grows without measure is refused", () => {
    const template = { x: Array.from({ length: 1_000 }, () => "${p}${p}") };
    expect(expanded(template, { p: { type: "string" } }, { p: "y".repeat(1_000) })).toEqual([
      expect.stringContaining("more than 262144 characters"),
    ]);
  });
});

describe("laws", () => {
  const evil = fc.oneof(
    fc.string(),
    fc.constantFrom('"', "'", "\n", "}", "${b}", "$${", "{{7*7}}", "`id`", "$(id)", "a: b\n- c", "\u0000"),
  );
  const leaf = fc.oneof(fc.constantFrom("${a}", "<${a}>", "${a}${a}", "x"), fc.integer(), fc.boolean(), fc.constant(null));
  const tree = fc.object({ values: [leaf], maxDepth: 3, key: fc.constantFrom("sleep", "ttl", "x", "__proto__", "constructor") });

  test("no value changes anything but the strings it is in", () => {
    const shapeOf = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shapeOf);
      if (typeof value === "object" && value !== null) return Object.entries(value).map(([key, one]) => [key, shapeOf(one)]);
      return typeof value === "string" ? "text" : value;
    };
    fc.assert(
      fc.property(tree, evil, (template, value) => {
        const spec = expanded(template as Tree, { a: { type: "string" } }, { a: value });
        expect(shapeOf(spec)).toEqual(shapeOf(template));
        const filled = JSON.stringify(template).replaceAll("${a}", () => JSON.stringify(value).slice(1, -1));
        expect(JSON.stringify(spec)).toBe(filled);
      }),
    );
  });

  test("without parameters a template is what it is, and the same is always made of the same", () => {
    fc.assert(
      fc.property(fc.object({ values: [fc.string().map((text) => text.replaceAll("$", "")), fc.integer()] }), (template) => {
        expect(expanded(template as Tree)).toEqual(template);
      }),
    );
  });

  test("what is given wins, field by field, and nothing else of the template is lost", () => {
    expect(overlaid({ a: 1, sleep: { x: 1, list: [1, 2] } }, { a: 2, sleep: { list: [3] } })).toEqual({ a: 2, sleep: { x: 1, list: [3] } });
    fc.assert(
      fc.property(tree, (one) => {
        expect(overlaid(one as Tree, {})).toEqual(one);
        expect(overlaid({}, one as Tree)).toEqual(one);
        expect(overlaid(one as Tree, one as Tree)).toEqual(one);
      }),
    );
  });
});

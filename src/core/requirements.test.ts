import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allows,
  compatible,
  conflict,
  contradiction,
  intersect,
  intersectValues,
  isEmpty,
  labelsOf,
  requirementProblem,
  requirementsOf,
  requirementsOfLabels,
  requirementsOfTerm,
  toList,
  type ValueSet,
  valueSet,
} from "./requirements.ts";
import type { Requirement } from "./resources.ts";

const words = ["a", "b", "0", "1", "2", "3", "03", "9", "x1"];
const operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"] as const;

/** By the words of the Kubernetes API, one operator at a time: the algebra must agree with it. */
function meant(requirement: Requirement, value: string | undefined): boolean {
  const values = requirement.values ?? [];
  const bound = Number(values[0]);
  const number = value !== undefined && /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  switch (requirement.operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return number > bound;
    case "Lt":
      return number < bound;
    case "Gte":
      return number >= bound;
    case "Lte":
      return number <= bound;
  }
}

function holds(set: ValueSet, value: string | undefined): boolean {
  return value === undefined ? set.absent : allows(set, value);
}

const requirement: fc.Arbitrary<Requirement> = fc.constantFrom(...operators).chain((operator) => {
  const values =
    operator === "In" || operator === "NotIn"
      ? fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength: 3 })
      : operator === "Exists" || operator === "DoesNotExist"
        ? fc.constant<string[]>([])
        : fc.constantFrom("0", "1", "2", "3", "9").map((one) => [one]);
  return values.map((list) => ({ key: "k", operator, values: list }));
});

describe("the algebra is what the words mean", () => {
  test("a chain of requirements allows exactly what each of them allows", () => {
    fc.assert(
      fc.property(fc.array(requirement, { minLength: 1, maxLength: 5 }), (list) => {
        const set = requirementsOf(list).get("k");
        for (const value of [...words, undefined]) {
          expect(set !== undefined && holds(set, value)).toBe(list.every((one) => meant(one, value)));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("every pair of operators: compatible with a labelled node iff the words say so", () => {
    fc.assert(
      fc.property(requirement, requirement, fc.option(fc.constantFrom(...words), { nil: undefined }), (a, b, value) => {
        const node = requirementsOfLabels(value === undefined ? {} : { k: value });
        expect(compatible(node, requirementsOf([a, b]))).toBe(meant(a, value) && meant(b, value));
      }),
      { numRuns: 2_000 },
    );
  });

  test("the full cross product: each operator with each set of values, beside each other, against every word and absence", () => {
    const sets = words.flatMap((one, nth) => [[one], ...words.slice(nth + 1).map((other) => [one, other])]);
    const all = operators.flatMap((operator): Requirement[] => {
      if (operator === "In" || operator === "NotIn") return sets.map((values) => ({ key: "k", operator, values }));
      if (operator === "Exists" || operator === "DoesNotExist") return [{ key: "k", operator, values: [] }];
      return ["0", "1", "2", "3", "9"].map((one) => ({ key: "k", operator, values: [one] }));
    });
    const seen = new Set<string>();
    const wrong: string[] = [];
    const candidates = [...words, undefined];
    const nodes = candidates.map((value) => requirementsOfLabels(value === undefined ? {} : { k: value }));
    for (const a of all) {
      for (const b of all) {
        seen.add(`${a.operator} ${b.operator}`);
        const both = requirementsOf([a, b]);
        const set = both.get("k");
        const apart = intersectValues(valueSet(a), valueSet(b));
        for (const [nth, value] of candidates.entries()) {
          const said = meant(a, value) && meant(b, value);
          const node = nodes[nth];
          const answers = [set !== undefined && holds(set, value), holds(apart, value), node !== undefined && compatible(node, both)];
          if (answers.some((one) => one !== said)) wrong.push(`${JSON.stringify([a, b])} on ${value ?? "absence"}: ${answers.join()}`);
        }
        const any = candidates.some((value) => meant(a, value) && meant(b, value));
        if (any && isEmpty(apart)) wrong.push(`${JSON.stringify([a, b])} is said to allow nothing`);
      }
    }
    expect(wrong).toEqual([]);
    expect(seen.size).toBe(operators.length ** 2);
  });

  test("intersection is commutative, associative, idempotent", () => {
    fc.assert(
      fc.property(requirement, requirement, requirement, (x, y, z) => {
        const [a, b, c] = [valueSet(x), valueSet(y), valueSet(z)];
        for (const value of [...words, undefined]) {
          expect(holds(intersectValues(a, b), value)).toBe(holds(intersectValues(b, a), value));
          expect(holds(intersectValues(intersectValues(a, b), c), value)).toBe(holds(intersectValues(a, intersectValues(b, c)), value));
          expect(holds(intersectValues(a, a), value)).toBe(holds(a, value));
        }
      }),
    );
  });

  test("an empty set allows nothing, and the list form loses nothing", () => {
    fc.assert(
      fc.property(fc.array(requirement, { minLength: 1, maxLength: 4 }), (list) => {
        const all = requirementsOf(list);
        const set = all.get("k") ?? valueSet({ key: "k", operator: "Exists" });
        if (isEmpty(set)) for (const value of [...words, undefined]) expect(holds(set, value)).toBe(false);
        const again = requirementsOf(toList(all)).get("k");
        for (const value of [...words, undefined]) expect(again !== undefined && holds(again, value)).toBe(holds(set, value));
      }),
    );
  });
});

describe("minValues", () => {
  const wants = (operator: Requirement["operator"], minValues?: number): Requirement => ({
    key: "k",
    operator,
    values: operator === "Exists" || operator === "DoesNotExist" ? [] : ["1"],
    ...(minValues === undefined ? {} : { minValues }),
  });
  const fewest = (...list: Requirement[]) => requirementsOf(list).get("k")?.minValues;

  test.each(operators)("%s keeps it, and allows what it allows without", (operator) => {
    expect([fewest(wants(operator)), fewest(wants(operator, 3))]).toEqual([undefined, 3]);
    for (const value of [...words, undefined])
      expect(holds(valueSet(wants(operator, 3)), value)).toBe(holds(valueSet(wants(operator)), value));
  });

  test("of two the larger holds, whichever operators they stand beside", () => {
    for (const a of operators) {
      for (const b of operators) {
        const both = (x?: number, y?: number) => fewest(wants(a, x), wants(b, y));
        expect([both(2, 5), both(5, 2), both(4, undefined), both(undefined, 4), both()]).toEqual([5, 5, 4, 4, undefined]);
      }
    }
  });

  test("the largest of many, and the list form loses nothing of it", () => {
    const some = fc.record({ one: requirement, minValues: fc.option(fc.integer({ min: 1, max: 50 })) });
    fc.assert(
      fc.property(fc.array(some, { minLength: 1, maxLength: 5 }), (list) => {
        const all = requirementsOf(list.map(({ one, minValues }) => (minValues === null ? one : { ...one, minValues })));
        const said = list.flatMap(({ minValues }) => minValues ?? []);
        const most = said.length === 0 ? undefined : Math.max(...said);
        expect(all.get("k")?.minValues).toBe(most);
        expect(requirementsOf(toList(all)).get("k")?.minValues).toBe(most);
      }),
    );
  });
});

test("a label nobody offers: In, Exists and bounds fail on it, NotIn and DoesNotExist pass", () => {
  const none = requirementsOfLabels({});
  const of = (operator: Requirement["operator"], values?: string[]) =>
    requirementsOf([{ key: "team", operator, ...(values ? { values } : {}) }]);
  expect(conflict(none, of("In", ["a"]))).toBe("team");
  expect(conflict(none, of("Exists"))).toBe("team");
  expect(conflict(none, of("Gt", ["1"]))).toBe("team");
  expect(conflict(none, of("NotIn", ["a"]))).toBeUndefined();
  expect(conflict(none, of("DoesNotExist"))).toBeUndefined();
});

test("crossing bounds and contradicting values are named", () => {
  expect(
    contradiction(
      requirementsOf([
        { key: "vram", operator: "Gt", values: ["80"] },
        { key: "vram", operator: "Lt", values: ["80"] },
      ]),
    ),
  ).toBe("vram");
  expect(contradiction(intersect(requirementsOfLabels({ arch: "amd64" }), requirementsOfLabels({ arch: "arm64" })))).toBe("arch");
});

test("a pool's several values narrow to one label", () => {
  const pool = requirementsOf([{ key: "tier", operator: "In", values: ["gold", "bronze"] }]);
  expect(labelsOf(pool)).toEqual({ tier: "bronze" });
  expect(labelsOf(intersect(pool, requirementsOfLabels({ tier: "gold" })))).toEqual({ tier: "gold" });
  expect(labelsOf(requirementsOf([{ key: "tier", operator: "Exists" }]))).toEqual({});
});

test("an empty term matches nothing, a field is matched like a label", () => {
  expect(requirementsOfTerm({})).toBeUndefined();
  const term = requirementsOfTerm({ matchFields: [{ key: "metadata.name", operator: "In", values: ["gpu-1"] }] });
  expect(term && compatible(requirementsOfLabels({ "metadata.name": "gpu-1" }), term)).toBe(true);
});

test.each([
  [{ key: "k", operator: "In" }, "In needs at least one value"],
  [{ key: "k", operator: "Exists", values: ["a"] }, "Exists takes no values"],
  [{ key: "k", operator: "Gt", values: ["a"] }, "Gt needs exactly one integer"],
  [{ key: "k", operator: "Lte", values: ["1", "2"] }, "Lte needs exactly one integer"],
  [{ key: "k", operator: "In", values: ["a"] }, undefined],
] as const)("%j", (one, problem) => {
  expect(requirementProblem(one)).toBe(problem);
});

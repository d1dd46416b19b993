import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import * as form from "./form.ts";
import { EXPECT_KEYS } from "./judge.ts";
import { CASE_KEYS, GIVEN_KEYS } from "./read.ts";
import { VARIANT_KEYS } from "./variants.ts";
import { window } from "./windows.ts";

const page = readFileSync(new URL("../../../docs/reference/scenario.md", import.meta.url), "utf8");

/** The words in code of a section of the page; of the first columns of its tables alone, where that is asked for. */
function wordsOf(title: string, columns = false): Set<string> {
  const [, rest = ""] = page.split(new RegExp(`\n##+ ${title.replaceAll(/[()]/g, "\\$&")}\n`));
  const [section = ""] = rest.split(/\n##+ /);
  const lines = section.split("\n").flatMap((line) => (columns ? (/^\| (?!annotation)([^|]*) \|/.exec(line)?.[1] ?? []) : [line]));
  return new Set(lines.flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].flatMap(([, code = ""]) => code.match(/[A-Za-z_]\w*/g) ?? [])));
}

const things: readonly (readonly [string, z.ZodObject])[] = [
  ["type", form.type],
  ["host", form.host],
  ["pool", form.pool],
  ["node", form.node],
  ["pod", form.pod],
  ["gang", form.gang],
  ["tenant", form.tenant],
  ["window", z.instanceof(z.ZodObject).parse(window.in)],
  ["disruption budgets (`pdbs`)", form.disruptionBudget],
  ["policy", form.policy],
];
const schemas: ReadonlySet<z.ZodType> = new Set(things.map(([, schema]) => schema));

/** The keys of what a thing has within, as far as that is no thing itself. */
function keysWithin(part: unknown): string[] {
  if (Array.isArray(part)) return part.flatMap(keysWithin);
  if (!(part instanceof z.ZodType) || schemas.has(part)) return [];
  if (part instanceof z.ZodObject) return [...Object.keys(part.shape), ...keysWithin(Object.values(part.shape))];
  return keysWithin(Object.values(part.def));
}

describe("docs/reference/scenario.md", () => {
  test.each(things)("has every key of a %s, and no other", (title, schema) => {
    const keys = Object.keys(schema.shape);
    const words = wordsOf(title);
    expect(keys.filter((key) => !words.has(key))).toEqual([]);
    expect([...wordsOf(title, true)].filter((word) => !keys.includes(word))).toEqual([]);
  });

  test.each(things)("has every key within a %s", (title, schema) => {
    // what several things have is said once
    const words = new Set([title, "Words", "policy"].flatMap((one) => [...wordsOf(one)]));
    expect(keysWithin(Object.values(schema.shape)).filter((key) => !words.has(key))).toEqual([]);
  });

  test.each([
    ["Case", [...CASE_KEYS]],
    ["given", [...GIVEN_KEYS]],
    ["expect", EXPECT_KEYS],
  ])("has every key of %s, and no other", (title, keys) => {
    const said = (columns: boolean) => [...wordsOf(title, columns)].map((word) => word.toLowerCase());
    const known = new Set(keys.map((key) => key.toLowerCase()));
    expect([...known].filter((key) => !said(true).includes(key))).toEqual([]);
    // of a level's keys one stands for all
    expect(said(true).filter((word) => !known.has(word.replace(/^(podsby|one)(?=zone|rack)/, "by")))).toEqual([]);
  });

  test("has every key of a variant", () => {
    expect([...VARIANT_KEYS].filter((key) => !wordsOf("expect").has(key))).toEqual([]);
  });
});

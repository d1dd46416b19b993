import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import * as form from "./form.ts";
import { window } from "./windows.ts";

const page = readFileSync(new URL("../../../docs/reference/scenario.md", import.meta.url), "utf8");

/** The words in code of a section of the page; of the first columns of its tables alone, where that is asked for. */
function wordsOf(title: string, columns = false): Set<string> {
  const [, rest = ""] = page.split(`\n### ${title}\n`);
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

test.each(things)("docs/reference/scenario.md has every key of a %s, and no other", (title, schema) => {
  const keys = Object.keys(schema.shape);
  const words = wordsOf(title);
  expect(keys.filter((key) => !words.has(key))).toEqual([]);
  expect([...wordsOf(title, true)].filter((word) => !keys.includes(word))).toEqual([]);
});

import { CHECKED_KEYS, type Circumstances, checkOf, choicesOf } from "./checks.ts";
import type { Outcome } from "./outcome.ts";
import { neverProblem } from "./prose.ts";
import { isRecord, type Raw } from "./read.ts";

/** What became of one expectation. `unjudged`: free text, or a form nobody knows; it never counts as passed. */
export interface Verdict {
  readonly key: string;
  readonly verdict: "passed" | "failed" | "unjudged";
  /** What was expected and what came, for people. */
  readonly detail?: string;
}

/** Keys that are read elsewhere. */
const APART: ReadonlySet<string> = new Set(["variant", "variants", "oneOf", "OneOf"]);

/** All that an expectation may say. */
export const EXPECT_KEYS: readonly string[] = [...APART, "never", ...CHECKED_KEYS];

/** Judges each expectation of a case but its variants. */
export function judge(expect: Raw, outcome: Outcome, around: Circumstances): Verdict[] {
  const verdicts = Object.entries(expect)
    .filter(([key]) => !APART.has(key))
    .flatMap(([key, expected]) => judgeKey(key, expected, outcome, around));
  const choices = expect.OneOf ?? expect.oneOf;
  return choices === undefined ? verdicts : [...verdicts, judgeChoices(choices, outcome, around)];
}

/** Whether a case leaves several answers open. */
export function isOpen(expected: unknown): boolean {
  if (Array.isArray(expected)) return expected.some(isOpen);
  if (!isRecord(expected)) return typeof expected === "string" && /^one ?of\b/i.test(expected);
  return Object.entries(expected).some(([key, value]) => /^oneof$/i.test(key) || isOpen(value));
}

function judgeKey(key: string, expected: unknown, outcome: Outcome, around: Circumstances): Verdict[] {
  if (key === "never") return (Array.isArray(expected) ? expected : [expected]).map((one) => judgeNever(one, outcome, around));
  const check = checkOf(key);
  if (!check) return [{ key, verdict: "unjudged", detail: typeof expected === "string" ? expected : JSON.stringify(expected) }];
  const choices = choicesOf(expected);
  const problems = choices.map((one) => check(one, outcome, around));
  if (problems.some((one) => one === undefined)) return [{ key, verdict: "passed" }];
  const known = problems.filter((one) => typeof one === "string");
  if (known.length === 0) return [{ key, verdict: "unjudged", detail: JSON.stringify(expected) }];
  return [{ key, verdict: "failed", detail: [...new Set(known)].join("; or ") }];
}

function judgeChoices(choices: unknown, outcome: Outcome, around: Circumstances): Verdict {
  const key = "OneOf";
  if (!Array.isArray(choices) || !choices.every(isRecord)) return { key, verdict: "unjudged", detail: JSON.stringify(choices) };
  const judged = choices.map((one) => judge(one, outcome, around));
  if (judged.some((all) => all.some((one) => one.verdict === "passed") && all.every((one) => one.verdict !== "failed")))
    return { key, verdict: "passed" };
  const details = judged.map((all) => all.flatMap((one) => one.detail ?? []).join(", "));
  return { key, verdict: "failed", detail: details.join("; or ") };
}

function judgeNever(expected: unknown, outcome: Outcome, around: Circumstances): Verdict {
  const text = String(expected);
  const found = neverProblem(text, { outcome, names: around.names, initialised: around.initialised });
  if (found === "unknown") return { key: "never", verdict: "unjudged", detail: text };
  return found === undefined
    ? { key: "never", verdict: "passed" }
    : { key: "never", verdict: "failed", detail: `"${text}" must never be: ${found}` };
}

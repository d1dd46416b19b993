import { type Action, type Outcome, textOf } from "./outcome.ts";

/** Words for the same deed. */
const VERBS: ReadonlyMap<string, string> = new Map([
  ["remove", "delete"],
  ["release", "delete"],
  ["terminate", "delete"],
  ["launch", "claim"],
  ["start", "claim"],
  ["hand", "give"],
  ["evict", "drain"],
]);

/**
 * Whether the actions are these, in this order; why not otherwise. What follows the subject is compared only where it
 * is said. `spare` stands for whatever free server is claimed, and `replace A with B` for claiming B and giving up A.
 */
export function actsMatch(expected: readonly string[], outcome: Outcome): string | undefined {
  const { actions } = outcome;
  const differs = `expected ${listOf(expected)}, got ${listOf(actions.map(textOf))}`;
  let at = 0;
  for (const text of expected) {
    const replacement = /^replace (\S+) with (\S+)/.exec(text);
    const wanted = replacement ? [`claim ${replacement[2]}`, `delete ${replacement[1]}`] : [text];
    for (const one of wanted) {
      const action = actions[at];
      if (!action || !matches(one, action, outcome)) return differs;
      at += 1;
    }
  }
  return at === actions.length ? undefined : differs;
}

function listOf(texts: readonly string[]): string {
  return `[${texts.join(", ")}]`;
}

function matches(text: string, action: Action, outcome: Outcome): boolean {
  const [verb = "", ...words] = normal(text).split(" ");
  const [subject = "", ...rest] = words[0] === "over" ? words.slice(1) : words;
  if ((VERBS.get(verb) ?? verb) !== action.verb && !(verb === "drain" && action.verb === "delete")) return false;
  const names = namesOf(action.subject, action.verb, outcome);
  if (!names.includes(subject)) return false;
  const wanted = rest.join(" ");
  if (wanted === "") return true;
  const said = normal(action.rest);
  const claimed = outcome.newNodes.flatMap((node) =>
    namesOf(node.node, "claim", outcome).map((name) => [normal(node.node), name] as const),
  );
  return [
    said,
    ...claimed.map(([name, other]) =>
      said
        .split(" ")
        .map((word) => (word === name ? other : word))
        .join(" "),
    ),
  ].includes(wanted);
}

/** A claimed server goes by its own name, its entry's, its type's, and as `spare`. */
function namesOf(subject: string, verb: string, outcome: Outcome): string[] {
  const node = outcome.newNodes.find((one) => one.node === subject);
  if (verb !== "claim" || !node) return [normal(subject)];
  return [subject, node.entry, node.type, "spare"].map(normal);
}

function normal(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, " ")
    .replace(/initialized/g, "initialised")
    .toLowerCase();
}

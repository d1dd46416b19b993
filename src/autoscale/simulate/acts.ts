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
 * is said. `spare` stands for whatever free server is claimed, `replace A with B` for claiming B and giving up A,
 * `delete A, B` for one after the other; `hold A` is no action: A would go but for a reason.
 */
export function actsMatch(expected: readonly string[], outcome: Outcome): string | undefined {
  const { actions } = outcome;
  const differs = (what: readonly string[]) =>
    `expected ${listOf(expected)}, got ${listOf([...actions.map(textOf), ...what.map((node) => `hold ${node}`)])}`;
  let at = 0;
  for (const one of expected.flatMap(stepsOf)) {
    const kept = /^hold (\S+)/.exec(one)?.[1];
    if (kept !== undefined) {
      if (!outcome.held.some(({ node }) => node === kept)) return differs(outcome.held.map(({ node }) => node));
      continue;
    }
    const action = actions[at];
    if (!action || !matches(one, action, outcome)) return differs([]);
    at += 1;
  }
  return at === actions.length ? undefined : differs([]);
}

/** One step for each action that a text stands for. */
function stepsOf(text: string): string[] {
  const replacement = /^replace (.+?)(?: with (\S+))?$/.exec(text.trim());
  if (replacement) return [`claim ${replacement[2] ?? ANY}`, ...several(replacement[1]).map((node) => `delete ${node}`)];
  const list = /^(\S+) ((?:[^\s,]+(?:,\s*|\s+and\s+))+[^\s,]+)(.*)$/.exec(text.trim());
  return list ? several(list[2]).map((subject) => `${list[1]} ${subject}${list[3]}`) : [text];
}

/** Stands for whatever is claimed. */
const ANY = "spare";

function several(list = ""): string[] {
  return list.split(/\s*,\s*|\s+and\s+/).filter((one) => one !== "");
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
  return [subject, node.entry, node.type, ANY].map(normal);
}

function normal(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, " ")
    .replace(/initialized/g, "initialised")
    .toLowerCase();
}

import { actsMatch } from "./acts.ts";
import { type NewNode, type NodeFacts, type Outcome, type PodName, textOf } from "./outcome.ts";
import type { Names } from "./prose.ts";
import { isRecord, type Problem } from "./read.ts";

/** What a judgement looks at besides the outcome. */
export interface Circumstances {
  readonly refused: readonly Problem[];
  readonly names: Names;
  /** How many plans it takes until one changes nothing. */
  readonly passes: () => number;
  /** The outcome with every node initialised and its taints as they are. */
  readonly initialised: () => Outcome;
}

/** Why an expectation does not hold; nothing when it does; `unjudged` when its form is not known. */
export type Check = (expected: unknown, outcome: Outcome, around: Circumstances) => string | undefined | typeof UNJUDGED;
const UNJUDGED = Symbol("unjudged");

/** What claims and pods are counted by. */
const LEVELS = ["zone", "site", "region", "block", "rack", "leaf", "nvl", "type", "pool", "tenant", "host"];

/** `{OneOf: […]}`, or "OneOf z1, z2". */
export function choicesOf(expected: unknown): readonly unknown[] {
  if (isRecord(expected)) {
    const choices = expected.OneOf ?? expected.oneOf;
    if (Array.isArray(choices) && Object.keys(expected).length === 1) return choices;
  }
  if (typeof expected === "string" && /^one ?of\b/i.test(expected))
    return expected
      .replace(/^one ?of\s*:?/i, "")
      .split(/\s*(?:,|\bor\b|\|)\s*/)
      .map((one) => one.trim())
      .filter((one) => one !== "");
  return [expected];
}

/** How a key is judged; nothing when nobody knows. */
export function checkOf(key: string): Check | undefined {
  const own = CHECKS.get(key);
  if (own) return own;
  const level = LEVELS.find((one) => key.toLowerCase() === `by${one}`);
  if (level) return (expected, outcome) => compareCounts(expected, countBy(outcome.newNodes, level), `new nodes by ${level}`);
  const pods = LEVELS.find((one) => key.toLowerCase() === `podsby${one}`);
  if (pods) return (expected, outcome) => podCounts(expected, outcome, pods);
  const one = LEVELS.find((name) => key.toLowerCase() === `one${name}`);
  if (one) return (expected, outcome) => together(expected, outcome, one);
  return undefined;
}

const CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ...LEVELS.filter((level) => level !== "host").map((level): [string, Check] => [
    level,
    (expected, { newNodes }) => onlyThese(expected, newNodes, (node) => [factOf(node, level) ?? ""], `new nodes of ${level}`),
  ]),
  ["newNodes", (expected, { newNodes }) => compareNumber(expected, newNodes.length, "new nodes")],
  ["claims", (expected, { newNodes }) => compareNumber(expected, newNodes.length, "claims")],
  ["passes", passes],
  ["pending", pending],
  ["placed", placed],
  ["reason", reason],
  ["groups", groups],
  ["bind", bind],
  ["place", placeOf],
  ["host", (expected, { newNodes }) => onlyThese(expected, newNodes, (node) => [node.node, node.entry], "new nodes on")],
  ["hosts", (expected, { newNodes }) => onlyThese(expected, newNodes, (node) => [node.node, node.entry], "new nodes on")],
  ["claimState", claimState],
  [
    "awaiting",
    (expected, { newNodes }) =>
      compareNumber(expected, newNodes.filter((node) => node.state === "AwaitingHost").length, "claims that await a host"),
  ],
  ["act", acts],
  ["acts", acts],
  ["actions", acts],
  ["deleteCount", (expected, outcome) => compareNumber(expected, goingNodes(outcome).size, "nodes given up")],
  ["deleted", (expected, outcome) => sameNames(expected, [...goingNodes(outcome)], "nodes given up")],
  ["drained", (expected, outcome) => sameNames(expected, subjects(outcome, ["drain"]), "nodes drained")],
  ["wiped", (expected, outcome) => sameNames(expected, subjects(outcome, ["wipe"]), "servers wiped")],
  ["reinstalled", (expected, outcome) => sameNames(expected, subjects(outcome, ["reinstall"]), "nodes reinstalled")],
  [
    "victims",
    (expected, outcome) =>
      sameNames(
        expected,
        outcome.actions.flatMap((one) => one.pods),
        "pods that lose their place",
      ),
  ],
  ["kept", kept],
  ["untouched", kept],
  ["held", held],
  ["refused", refused],
]);

/** All keys that are judged here; those by a level also as `podsBy…` and `one…`. */
export const CHECKED_KEYS: readonly string[] = [...CHECKS.keys(), ...LEVELS.map((level) => `by${level}`)];

function passes(expected: unknown, _: Outcome, around: Circumstances): string | undefined | typeof UNJUDGED {
  if (typeof expected !== "number") return UNJUDGED;
  const took = around.passes();
  return took <= expected ? undefined : `expected ${expected} passes, took ${took}`;
}

function acts(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  const wanted = typeof expected === "string" ? [expected] : expected;
  return isTexts(wanted) ? actsMatch(wanted, outcome) : UNJUDGED;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function compareNumber(expected: unknown, got: number, what: string): string | undefined | typeof UNJUDGED {
  const holds = isNumber(expected, got);
  if (holds === undefined) return UNJUDGED;
  return holds ? undefined : `expected ${String(expected)} ${what}, got ${got}`;
}

/** Whether a number is `3`, or within `"<=3"`; nothing where neither is said. */
function isNumber(expected: unknown, got: number): boolean | undefined {
  if (typeof expected === "number") return expected === got;
  const bound = typeof expected === "string" ? /^\s*(<=|>=|<|>)\s*([0-9]+)\s*$/.exec(expected) : null;
  if (!bound) return undefined;
  const limit = Number(bound[2]);
  return { "<=": got <= limit, ">=": got >= limit, "<": got < limit, ">": got > limit }[bound[1] ?? ""];
}

function factOf(node: NodeFacts, level: string): string | undefined {
  if (level === "type") return node.type;
  if (level === "pool") return node.pool;
  if (level === "tenant") return node.tenant;
  if (level === "host") return node.node;
  return node.place[level === "site" ? "zone" : level];
}

function countBy(nodes: readonly NodeFacts[], level: string): Map<string, number> {
  return countOf(nodes.map((node) => factOf(node, level) ?? "(none)"));
}

function countOf(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** `{z1: 2}`; `["z1", "z1"]`; or `[2, 1]`, which names no domain. */
function compareCounts(expected: unknown, got: ReadonlyMap<string, number>, what: string): string | undefined | typeof UNJUDGED {
  const shown = JSON.stringify(Object.fromEntries([...got].sort()));
  const differs = `expected ${what} ${JSON.stringify(expected)}, got ${shown}`;
  if (Array.isArray(expected) && expected.every((one) => typeof one === "number")) {
    const sorted = (list: readonly number[]) => JSON.stringify([...list].filter((one) => one > 0).sort((a, b) => a - b));
    return sorted(expected) === sorted([...got.values()]) ? undefined : differs;
  }
  const wanted = isTexts(expected) ? countOf(expected) : isRecord(expected) ? new Map(Object.entries(expected)) : undefined;
  if (!wanted || [...wanted.values()].some((one) => isNumber(one, 0) === undefined)) return UNJUDGED;
  const keys = new Set([...wanted.keys(), ...got.keys()]);
  return [...keys].every((key) => isNumber(wanted.get(key) ?? 0, got.get(key) ?? 0)) ? undefined : differs;
}

/** All pods there are then; or, where others run there too, those that were placed. */
function podCounts(expected: unknown, outcome: Outcome, level: string): string | undefined | typeof UNJUDGED {
  const nodes = new Map([...outcome.nodes, ...outcome.newNodes].map((node) => [node.node, node]));
  const fact = (node: string) => {
    const facts = nodes.get(node);
    return (facts && factOf(facts, level)) ?? "(none)";
  };
  const placedThere = outcome.placements.map((one) => fact(one.node));
  const running = outcome.nodes.flatMap((node) => node.running.map(() => fact(node.node)));
  const all = compareCounts(expected, countOf([...placedThere, ...running]), `pods by ${level}`);
  return typeof all === "string" && compareCounts(expected, countOf(placedThere), "") === undefined ? undefined : all;
}

function together(expected: unknown, outcome: Outcome, level: string): string | undefined | typeof UNJUDGED {
  if (typeof expected !== "boolean") return UNJUDGED;
  const nodes = new Map([...outcome.nodes, ...outcome.newNodes].map((node) => [node.node, node]));
  const seen = new Set(outcome.placements.map((one) => factOf(nodes.get(one.node) ?? { ...NOWHERE, node: one.node }, level)));
  const one = seen.size === 1;
  return one === expected
    ? undefined
    : `expected ${expected ? "one" : "several"} ${level}, got ${[...seen].map(String).sort().join(", ") || "none"}`;
}

const NOWHERE: NodeFacts = { node: "", entry: "", type: "", place: {}, running: [] };

function idOf(pod: PodName): string {
  return pod.gang ?? pod.id;
}

function waiting(outcome: Outcome): readonly PodName[] {
  return outcome.pending.flatMap((one) => one.pods);
}

/** A number of pods (a gang may count as one), an id or several, `{id: number}`. */
function pending(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  return comparePods(expected, waiting(outcome), "pending");
}

function placed(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  return comparePods(expected, outcome.placements, "placed");
}

function comparePods(expected: unknown, pods: readonly PodName[], what: string): string | undefined | typeof UNJUDGED {
  if (Array.isArray(expected) && expected.length === 1 && typeof expected[0] === "number") return comparePods(expected[0], pods, what);
  const got = countOf(pods.map(idOf));
  const shown =
    [...got]
      .sort()
      .map(([id, many]) => (many > 1 ? `${id} ×${many}` : id))
      .join(", ") || "none";
  const gangs = new Set(pods.flatMap((pod) => pod.gang ?? []));
  const withGangsAsOne = pods.filter((pod) => pod.gang === undefined).length + gangs.size;
  const counts = [pods.length, withGangsAsOne].flatMap((count) => isNumber(expected, count) ?? []);
  if (counts.length > 0) return counts.includes(true) ? undefined : `expected ${String(expected)} ${what}, got ${pods.length} (${shown})`;
  if (typeof expected === "string") return comparePods([expected], pods, what);
  if (isRecord(expected)) return compareCounts(expected, got, what);
  if (!isTexts(expected)) return UNJUDGED;
  const wanted = (list: readonly string[]) => JSON.stringify([...list].sort());
  const holds = [[...got.keys()], pods.map(idOf), pods.map((pod) => pod.pod)].some((list) => wanted(list) === wanted(expected));
  return holds ? undefined : `expected ${expected.join(", ") || "none"} ${what}, got ${shown}`;
}

/** A part of a refusal, whatever its case; by pod where it says so. */
function reason(expected: unknown, outcome: Outcome, around: Circumstances): string | undefined | typeof UNJUDGED {
  const said = (pod?: string) => [
    ...outcome.pending
      .filter((one) => pod === undefined || one.pods.some((name) => [name.pod, idOf(name), name.id].includes(pod)))
      .flatMap((one) => [one.reason, ...one.details]),
    ...outcome.held.filter((one) => pod === undefined || one.node === pod).map((one) => one.reason),
    ...(pod === undefined ? around.refused.map((one) => `${one.path}: ${one.reason}`) : []),
  ];
  const missing = (text: unknown, pod?: string) => {
    const all = said(pod);
    if (all.some((one) => one.toLowerCase().includes(String(text).toLowerCase()))) return undefined;
    return `expected ${pod === undefined ? "a" : `${pod}'s`} refusal to say "${String(text)}", it says ${all.map((one) => `"${one}"`).join(", ") || "nothing"}`;
  };
  if (typeof expected === "string") return missing(expected);
  if (isTexts(expected)) return expected.map((one) => missing(one)).find((one) => one !== undefined);
  if (isRecord(expected))
    return Object.entries(expected)
      .map(([pod, text]) => missing(text, pod))
      .find((one) => one !== undefined);
  return UNJUDGED;
}

/** Pods that share a node, by id or instance; those that ran there before may be named or not. */
function groups(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  if (!Array.isArray(expected) || !expected.every(isTexts)) return UNJUDGED;
  const nodes = [...outcome.nodes, ...outcome.newNodes];
  const sharing = (name: (pod: PodName) => string, withRunning: boolean) =>
    nodes
      .map((node) => [...outcome.placements.filter((one) => one.node === node.node), ...(withRunning ? node.running : [])])
      .map((pods) => pods.map(name))
      .filter((pods) => pods.length > 0);
  const normal = (list: readonly (readonly string[])[]) => JSON.stringify(list.map((one) => JSON.stringify([...one].sort())).sort());
  const wanted = normal(expected);
  const byId = sharing(idOf, false);
  const holds = [byId, sharing((pod) => pod.pod, false), sharing(idOf, true), sharing((pod) => pod.pod, true)].some(
    (one) => normal(one) === wanted,
  );
  return holds ? undefined : `expected groups ${JSON.stringify(expected)}, got ${JSON.stringify(byId)}`;
}

function nodesOf(pod: string, outcome: Outcome): string[] {
  return outcome.placements.filter((one) => [one.pod, one.id, one.gang].includes(pod)).map((one) => one.node);
}

function bind(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  if (!isRecord(expected)) return UNJUDGED;
  const entries = new Map([...outcome.nodes, ...outcome.newNodes].map((node) => [node.node, node.entry]));
  const wrong = Object.entries(expected).flatMap(([pod, wanted]) => {
    const at = nodesOf(pod, outcome);
    const choices = choicesOf(wanted);
    const fits = choices.some((choice) => {
      if (choice === null) return at.length === 0;
      if (Array.isArray(choice)) return JSON.stringify([...choice].sort()) === JSON.stringify([...at].sort());
      return at.length > 0 && at.every((node) => node === choice || entries.get(node) === choice);
    });
    return fits ? [] : [`expected ${pod} on ${JSON.stringify(wanted)}, got ${at.join(", ") || "nowhere"}`];
  });
  return wrong.length > 0 ? wrong.join(", ") : undefined;
}

/** `{pod or gang: a node, host, type, pool or domain, {domain: members} or null for nowhere}`, or `{domain: pods}`. */
function placeOf(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  if (!isRecord(expected)) return UNJUDGED;
  const nodes = new Map([...outcome.nodes, ...outcome.newNodes].map((node) => [node.node, node]));
  const facts = (name: string) => {
    const node = nodes.get(name);
    return node ? [node.node, node.entry, node.type, node.pool, node.tenant, ...Object.values(node.place)] : [name];
  };
  const wrong = Object.entries(expected).flatMap(([pod, wanted]) => {
    if (typeof wanted === "number") {
      const got = outcome.placements.filter((one) => facts(one.node).includes(pod)).length;
      return got === wanted ? [] : [`expected ${wanted} pods in ${pod}, got ${got}`];
    }
    const at = nodesOf(pod, outcome);
    if (wanted === null) return at.length === 0 ? [] : [`expected ${pod} nowhere, got ${at.join(", ")}`];
    if (isRecord(wanted) && Object.values(wanted).every((one) => typeof one === "number")) {
      const there = (name: string) => at.filter((node) => facts(node).includes(name)).length;
      const named = Object.values(wanted).reduce<number>((sum, one) => sum + Number(one), 0);
      if (named === at.length && Object.entries(wanted).every(([name, many]) => there(name) === many)) return [];
      return [`expected ${pod} in ${JSON.stringify(wanted)}, got ${at.join(", ") || "nowhere"}`];
    }
    const allowed = Array.isArray(wanted) ? wanted : choicesOf(wanted);
    const fits = at.length > 0 && at.every((node) => allowed.some((one) => facts(node).includes(String(one))));
    return fits ? [] : [`expected ${pod} in ${JSON.stringify(wanted)}, got ${at.join(", ") || "nowhere"}`];
  });
  return wrong.length > 0 ? wrong.join(", ") : undefined;
}

/** All new nodes are of what is named, and each named has one. */
function onlyThese(
  expected: unknown,
  nodes: readonly NewNode[],
  facts: (node: NewNode) => readonly string[],
  what: string,
): string | undefined | typeof UNJUDGED {
  const wanted = typeof expected === "string" ? [expected] : expected;
  if (!isTexts(wanted)) return UNJUDGED;
  const fits =
    nodes.every((node) => facts(node).some((fact) => wanted.includes(fact))) &&
    wanted.every((one) => nodes.some((node) => facts(node).includes(one)));
  return fits
    ? undefined
    : `expected ${what} ${wanted.join(", ") || "none"}, got ${nodes.map((node) => facts(node)[0]).join(", ") || "none"}`;
}

function claimState(expected: unknown, { newNodes }: Outcome): string | undefined | typeof UNJUDGED {
  const states = newNodes.map((node) => node.state);
  if (isTexts(expected)) return compareCounts(expected, countOf(states), "claims by state");
  if (typeof expected === "string")
    return states.some((one) => one === expected)
      ? undefined
      : `expected a claim that is ${expected}, got ${states.join(", ") || "no claim"}`;
  if (!isRecord(expected)) return UNJUDGED;
  const byHost = Object.entries(expected).every(([, value]) => typeof value === "string");
  if (!byHost) return compareCounts(expected, countOf(states), "claims by state");
  const wrong = Object.entries(expected).filter(
    ([host, state]) => !newNodes.some((node) => [node.node, node.entry].includes(host) && node.state === state),
  );
  return wrong.length === 0
    ? undefined
    : `expected ${JSON.stringify(Object.fromEntries(wrong))}, got ${newNodes.map((node) => `${node.node} ${node.state}`).join(", ") || "no claim"}`;
}

function subjects(outcome: Outcome, verbs: readonly string[]): string[] {
  return outcome.actions.filter((one) => verbs.includes(one.verb)).map((one) => one.subject);
}

function goingNodes(outcome: Outcome): Set<string> {
  return new Set(subjects(outcome, ["delete", "drain", "reinstall"]));
}

function sameNames(expected: unknown, got: readonly string[], what: string): string | undefined | typeof UNJUDGED {
  const wanted = typeof expected === "string" ? [expected] : expected;
  if (!isTexts(wanted)) return typeof expected === "number" ? compareNumber(expected, got.length, what) : UNJUDGED;
  const sorted = (list: readonly string[]) => JSON.stringify([...new Set(list)].sort());
  return sorted(wanted) === sorted(got)
    ? undefined
    : `expected ${what} ${wanted.join(", ") || "none"}, got ${[...new Set(got)].join(", ") || "none"}`;
}

function kept(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  const wanted = typeof expected === "string" ? [expected] : expected;
  if (!isTexts(wanted)) return UNJUDGED;
  const touched = outcome.actions.filter((one) => wanted.includes(one.subject)).map(textOf);
  return touched.length === 0 ? undefined : `expected ${wanted.join(", ")} left alone, got ${touched.join(", ")}`;
}

function held(expected: unknown, outcome: Outcome): string | undefined | typeof UNJUDGED {
  if (isTexts(expected))
    return sameNames(
      expected,
      outcome.held.map((one) => one.node),
      "nodes held",
    );
  if (!isRecord(expected)) return UNJUDGED;
  const wrong = Object.entries(expected).filter(
    ([node, text]) => !outcome.held.some((one) => one.node === node && one.reason.toLowerCase().includes(String(text).toLowerCase())),
  );
  return wrong.length === 0 ? undefined : `expected held ${JSON.stringify(Object.fromEntries(wrong))}, got ${JSON.stringify(outcome.held)}`;
}

function refused(expected: unknown, _: Outcome, around: Circumstances): string | undefined | typeof UNJUDGED {
  const all = around.refused.map((one) => `${one.path}: ${one.reason}`);
  if (typeof expected === "number") return compareNumber(expected, new Set(around.refused.map((one) => one.path)).size, "things refused");
  const wanted = typeof expected === "string" ? [expected] : expected;
  if (!isTexts(wanted)) return UNJUDGED;
  const missing = wanted.filter((text) => !all.some((one) => one.toLowerCase().includes(text.toLowerCase())));
  return missing.length === 0 ? undefined : `expected ${missing.join(", ")} refused, got ${all.join(", ") || "nothing refused"}`;
}

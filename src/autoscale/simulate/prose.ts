import { type Outcome, textOf } from "./outcome.ts";

/** What a scenario names: only of these can be judged whether something happened to them. */
export interface Names {
  readonly hosts: ReadonlyMap<string, { readonly type: string; readonly state: string }>;
  readonly types: ReadonlySet<string>;
  readonly pools: ReadonlySet<string>;
  readonly pods: ReadonlySet<string>;
  readonly nodes: ReadonlySet<string>;
  readonly gangs: ReadonlyMap<string, { readonly min: number }>;
}

interface Judged {
  readonly outcome: Outcome;
  readonly names: Names;
  readonly initialised: () => Outcome;
}

/** How the forbidden thing came about; nothing when it did not; `unknown` when the sentence is not understood. */
type Found = string | undefined | "unknown";
type Form = readonly [RegExp, (match: RegExpExecArray, judged: Judged) => Found];

const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
const TOUCHED: ReadonlyMap<string, readonly string[]> = new Map([
  ["touched", []],
  ["disrupted", []],
  ["drained", ["drain", "delete", "reinstall"]],
  ["evicted", ["drain", "delete", "reinstall"]],
  ["preempted", ["drain", "delete"]],
  ["deleted", ["delete"]],
  ["released", ["delete", "give"]],
  ["removed", ["delete"]],
  ["wiped", ["wipe"]],
  ["given", ["give"]],
  ["reinstalled", ["reinstall"]],
  ["down", ["drain", "delete", "reinstall", "wipe"]],
]);

/** The sentences of `never` that are understood; the first that fits decides. */
const FORMS: readonly Form[] = [
  [
    /^after init with the taint still present, (\S+) is planned on (\S+)$/,
    ([, pod = "", node = ""], { initialised }) => onNode(initialised(), pod, node),
  ],
  [
    /^(\S+) (?:is )?(?:(?:planned|placed|bound|scheduled|put) )?on (\S+)$/,
    ([, pod = "", node = ""], judged) => (judged.names.pods.has(pod) ? onNode(judged.outcome, pod, node) : "unknown"),
  ],
  [/^(?:an? |the )?(\S+) (?:host|server|machine)s? (?:is |are )?claimed$/, ([, state = ""], judged) => claimedOf(state, judged)],
  [
    /^an? (\w+) (?:claim|node|server|host)(?: object)? (?:exists|is (?:made|claimed|created))$/,
    ([, nth = ""], { outcome }) => more(ORDINALS.indexOf(nth), outcome),
  ],
  [
    /^more than ([0-9]+) (?:new )?(?:claim|node|server|host|machine)s?(?: claimed)?$/,
    ([, many = ""], { outcome }) => more(Number(many), outcome),
  ],
  [
    /^(?:an?|any) (?:new )?(?:server|node|host|claim|machine)(?: is)?(?: bought| claimed| created| launched| made)?$/,
    (_, { outcome }) => more(0, outcome),
  ],
  [/^(?:an? )?install(?:ation)? starts before (?:the )?wipe is (?:done|over|finished)$/, (_, judged) => tooEarly(judged)],
  [/^same-tenant reuse (?:reinstalls the os|wipes(?: the (?:disks?|server|host))?)$/i, (_, { outcome }) => sameTenant(outcome)],
  [
    /^(?=.*\bboth\b)(?:both )?(\S+) and (\S+) (?:are )?(?:both )?(down|drained|deleted|touched|disrupted|evicted|wiped|reinstalled)$/,
    ([, a = "", b = "", how = ""], judged) => both(a, b, how, judged),
  ],
  [
    /^(?:an?|any|some) (?:other )?(?:node|server|host|machine) (?:is )?(down|drained|deleted|touched|disrupted|wiped|reinstalled)$/,
    ([, how = ""], judged) => tooMany(0, how, judged),
  ],
  [
    /^(?:a )?(?:partial(?:ly)? (?:gang|placement|placed gang)|part of \S+(?: gang)?(?: (?:is )?placed)?|gang (?:split|placed in part))$/,
    (_, judged) => partial(judged),
  ],
  [
    /^(?:gang )?(\S+) (?:is )?(?:split|partly placed|partially placed|placed in part)$/,
    ([, gang = ""], judged) => (judged.names.gangs.has(gang) ? partial(judged, gang) : "unknown"),
  ],
  [
    /^(\S+) (?:is )?(?:split|spread|placed|scattered)? ?(?:across|over|on|in) (?:two |several |more than one )?(rack|zone|block|nvl|leaf)s?(?: domains?)?$/,
    ([, gang = "", level = ""], judged) => apart(gang, level, judged),
  ],
  [
    /^(?:more than (\w+)|(\w+)) (?:nodes?|servers?|hosts?) (?:are |is )?(down|drained|deleted|disrupted|touched|reinstalled|wiped)(?: at once| at the same time)?$/,
    ([, above, many, how = ""], judged) => tooMany(above === undefined ? numberOf(many) - 1 : numberOf(above), how, judged),
  ],
  [/^(?:an? |the )?(?:host|server|machine) (?:is )?claimed twice$/, (_, { outcome }) => twice(outcome)],
  [/^(?:any|a) pod (?:is )?(?:left )?pending$/, (_, { outcome }) => waits(outcome)],
  [
    /^(\S+) (?:and|with) (\S+) (?:share a|on the same|on one|in one|in the same) (node|host|server|zone|rack|nvl|block)$/,
    ([, a = "", b = "", level = ""], judged) => sharing(a, b, level, judged),
  ],
  [/^(\S+) (?:is )?(?:left )?pending$/, ([, pod = ""], judged) => pending(pod, judged)],
  [/^(\S+) (?:is )?(?:chosen|claimed|used|bought|taken)$/, ([, name = ""], judged) => chosen(name, judged)],
  [
    /^(.+?) (?:is |are )?(touched|disrupted|drained|evicted|preempted|deleted|released|removed|wiped|given|reinstalled)$/,
    ([, which = "", how = ""], judged) => touched(which, how, judged),
  ],
];

export function neverProblem(text: string, judged: Judged): Found {
  const plain = text.trim().replace(/\s+/g, " ").replace(/\.$/, "");
  for (const [form, judge] of FORMS) {
    const match = form.exec(plain) ?? form.exec(plain.replace(/^\w/, (letter) => letter.toLowerCase()));
    if (match) return judge(match, judged);
  }
  return "unknown";
}

function onNode(outcome: Outcome, pod: string, node: string): Found {
  const entry = new Map([...outcome.nodes, ...outcome.newNodes].map((one) => [one.node, one.entry]));
  const there = outcome.placements.find(
    (one) => [one.pod, one.id, one.gang].includes(pod) && (one.node === node || entry.get(one.node) === node),
  );
  return there && `${there.pod} is planned on ${there.node}`;
}

function claimedOf(state: string, { outcome, names }: Judged): Found {
  const node = outcome.newNodes.find((one) => names.hosts.get(one.node)?.state === state);
  if (![...names.hosts.values()].some((host) => host.state === state)) return "unknown";
  return node && `${node.node} is claimed`;
}

function more(than: number, { newNodes }: Outcome): Found {
  if (than < 0) return "unknown";
  return newNodes.length > than ? `${newNodes.length} claims` : undefined;
}

function tooEarly({ outcome, names }: Judged): Found {
  const early = outcome.newNodes.find((node) => (names.hosts.get(node.node)?.state ?? "free") !== "free" && node.state !== "AwaitingHost");
  return early && `${early.node} is ${early.state}`;
}

function sameTenant({ actions }: Outcome): Found {
  const own = actions.find((one) => ["wipe", "reinstall"].includes(one.verb) && one.from !== undefined && one.from === one.tenant);
  return own && textOf(own);
}

function deeds(name: string, how: string, { outcome }: Judged): string[] {
  const verbs = TOUCHED.get(how) ?? [];
  return outcome.actions
    .filter(
      (one) =>
        (one.subject === name || one.pods.some((pod) => pod === name || pod.replace(/-[0-9]+$/, "") === name)) &&
        (verbs.length === 0 || verbs.includes(one.verb)),
    )
    .map(textOf);
}

function isKnown(name: string, { names }: Judged): boolean {
  return names.nodes.has(name) || names.hosts.has(name) || names.pods.has(name);
}

function both(a: string, b: string, how: string, judged: Judged): Found {
  if (!isKnown(a, judged) || !isKnown(b, judged)) return "unknown";
  const done = [deeds(a, how, judged), deeds(b, how, judged)];
  return done.every((one) => one.length > 0) ? done.flat().join(", ") : undefined;
}

function touched(which: string, how: string, judged: Judged): Found {
  const list = which.split(/\s*,\s*|\s+(?:or|and|nor)\s+/);
  if (!list.every((name) => isKnown(name, judged))) return "unknown";
  const done = list.flatMap((name) => deeds(name, how, judged));
  return done.length > 0 ? done.join(", ") : undefined;
}

function partial({ outcome, names }: Judged, only?: string): Found {
  for (const [gang, { min }] of names.gangs) {
    if (only !== undefined && gang !== only) continue;
    const members = outcome.placements.filter((one) => one.gang === gang).length;
    const running = outcome.nodes.flatMap((node) => node.running).filter((one) => one.gang === gang).length;
    if (members > 0 && members + running < min) return `${members} of ${gang}'s ${min} are placed`;
  }
  return names.gangs.size === 0 ? "unknown" : undefined;
}

const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

function numberOf(text = ""): number {
  const word = NUMBERS.indexOf(text);
  return word < 0 ? Number(text) : word;
}

function tooMany(most: number, how: string, { outcome }: Judged): Found {
  if (!Number.isInteger(most) || most < 0) return "unknown";
  const verbs = TOUCHED.get(how) ?? [];
  const nodes = new Set(outcome.actions.filter((one) => verbs.length === 0 || verbs.includes(one.verb)).map((one) => one.subject));
  return nodes.size > most ? [...nodes].join(", ") : undefined;
}

function twice({ newNodes }: Outcome): Found {
  const names = newNodes.map((one) => one.node);
  return names.find((name, nth) => names.indexOf(name) !== nth);
}

function waits({ pending }: Outcome): Found {
  return pending[0]?.pods[0]?.pod;
}

function apart(pod: string, level: string, { outcome, names }: Judged): Found {
  if (!names.pods.has(pod)) return "unknown";
  const facts = new Map([...outcome.nodes, ...outcome.newNodes].map((one) => [one.node, one]));
  const where = new Set(
    outcome.placements
      .filter((one) => [one.pod, one.id, one.gang].includes(pod))
      .map((one) => facts.get(one.node)?.place[level] ?? "(none)"),
  );
  return where.size > 1 ? [...where].sort().join(" and ") : undefined;
}

function sharing(a: string, b: string, level: string, { outcome, names }: Judged): Found {
  if (!names.pods.has(a) || !names.pods.has(b)) return "unknown";
  const facts = new Map([...outcome.nodes, ...outcome.newNodes].map((one) => [one.node, one]));
  const where = (pod: string) =>
    [
      ...outcome.placements.filter((one) => [one.pod, one.id].includes(pod)).map((one) => one.node),
      ...outcome.nodes.filter((node) => node.running.some((one) => [one.pod, one.id].includes(pod))).map((one) => one.node),
    ].map((node) => (["node", "host", "server"].includes(level) ? node : facts.get(node)?.place[level]));
  const shared = where(a).find((one) => one !== undefined && where(b).includes(one));
  return shared && `${a} and ${b} share ${shared}`;
}

function pending(pod: string, { outcome, names }: Judged): Found {
  if (!names.pods.has(pod)) return "unknown";
  const waits = outcome.pending.flatMap((one) => one.pods).find((one) => [one.pod, one.id, one.gang].includes(pod));
  return waits && `${waits.pod} is pending`;
}

function chosen(name: string, { outcome, names }: Judged): Found {
  if (![names.types, names.pools].some((set) => set.has(name)) && !names.hosts.has(name)) return "unknown";
  const node = outcome.newNodes.find((one) => [one.node, one.entry, one.type, one.pool].includes(name));
  return node && `${node.node} (${node.type}) is claimed`;
}

import type { Request } from "./amounts.ts";
import type { Needs, NeedsTable } from "./needs.ts";
import { order } from "./order.ts";
import { keysOf } from "./terms.ts";
import { NO_RULES, type Rules, type Topology } from "./topology.ts";
import type { PendingPod, PodNeeds, RunningPod, TenantWorld } from "./world.ts";

/** Pods that can run in exactly the same places. The cost of a plan grows with kinds, not with pods. */
export interface PodKind {
  readonly tenant: string;
  readonly needs: Needs;
  readonly namespace: string;
  /** Those of any of its pods; what selectors look at is the same for all. */
  readonly labels: Readonly<Record<string, string>>;
  readonly priority: number;
  readonly gang?: string;
  readonly maxRuntimeS?: number;
  /** Oldest first. */
  readonly pods: readonly PendingPod[];
  /** Its keys in the same order. */
  readonly keys: readonly string[];
  /** Undefined when nobody offers what it asks for. */
  readonly request: Request | undefined;
  readonly rules: Rules;
  /** At most one of it fits on a node, whatever the node's size. */
  readonly oneEach: boolean;
  /** Why it is not planned at all. */
  readonly problem?: string;
}

/** The namespace of `namespace/name`. */
export function namespaceOf(key: string): string {
  const slash = key.indexOf("/");
  return slash < 0 ? "" : key.slice(0, slash);
}

/** The labels that selectors of a tenant's pods look at. */
export function selectedLabels(needs: Iterable<PodNeeds>): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const one of needs) {
    const terms = [
      ...(one.spread ?? []),
      ...(one.affinity ?? []),
      ...(one.antiAffinity ?? []),
      ...(one.preferredAffinity ?? []),
      ...(one.preferredAntiAffinity ?? []),
    ];
    for (const term of terms) for (const key of keysOf(term.selector)) keys.add(key);
  }
  return keys;
}

/** What of a pod's labels and namespace tells it from others with the same needs. */
export class Faces {
  private readonly keys: readonly string[];
  private readonly texts = new Map<Readonly<Record<string, string>>, string>();
  private readonly anybody: boolean;

  /** @param keys of {@link selectedLabels} @param anybody whether there is any selector, even one that selects all */
  constructor(keys: ReadonlySet<string>, anybody: boolean) {
    this.keys = [...keys].sort();
    this.anybody = anybody;
  }

  of(pod: PendingPod | RunningPod): string {
    if (!this.anybody) return "";
    let text = this.texts.get(pod.labels);
    if (text === undefined) {
      text = JSON.stringify(this.keys.map((key) => pod.labels[key] ?? null));
      this.texts.set(pod.labels, text);
    }
    return `${namespaceOf(pod.key)} ${text}`;
  }
}

/** What kinds of pods are judged by. */
export interface Judgement {
  /** Undefined: nobody offers it. */
  request(needs: Needs): Request | undefined;
  /** Needs that ask more of their neighbours than this plan weighs. */
  readonly unweighed: ReadonlySet<number>;
}

/** The tenant's pods by kind, in no promised order. */
export function kindsOf(
  world: TenantWorld,
  table: NeedsTable,
  faces: Faces,
  topology: Topology,
  { request, unweighed }: Judgement,
): PodKind[] {
  const kinds = new Map<string, { needs: Needs; pods: PendingPod[] }>();
  // a pod whose like was just seen is told by its objects alone
  const seen = new Map<PodNeeds, PendingPod[][]>();
  for (const pod of world.pods) {
    const alike = seen.get(pod.needs)?.find(([first]) => first !== undefined && sameObjects(first, pod));
    if (alike) {
      alike.push(pod);
      continue;
    }
    const needs = table.of(pod.needs);
    const gates = pod.gates && pod.gates.length > 0 ? pod.gates.join() : "";
    const key = `${needs.id} ${pod.priority} ${pod.gang ?? ""} ${pod.maxRuntimeS ?? ""} ${gates} ${faces.of(pod)}`;
    const kind = kinds.get(key);
    const pods = kind?.pods ?? [];
    pods.push(pod);
    if (!kind) kinds.set(key, { needs, pods });
    const known = seen.get(pod.needs);
    if (!known) seen.set(pod.needs, [pods]);
    else if (!known.includes(pods) && known.length < MOST_ALIKE) known.push(pods);
  }
  return [...kinds.values()].map(({ needs, pods }) => {
    if (pods.length > 1) pods.sort((a, b) => order(a.since, b.since) || order(a.key, b.key));
    const first = pods[0] as PendingPod;
    const namespace = namespaceOf(first.key);
    const weighed = !unweighed.has(needs.id);
    const rules = weighed ? topology.rulesOf(needs, namespace, first.labels) : NO_RULES;
    const problem = problemOf(first, needs, weighed);
    return {
      tenant: world.tenant,
      needs,
      namespace,
      labels: first.labels,
      priority: first.priority,
      ...(first.gang === undefined ? {} : { gang: first.gang }),
      ...(first.maxRuntimeS === undefined ? {} : { maxRuntimeS: first.maxRuntimeS }),
      pods,
      keys: pods.map((pod) => pod.key),
      request: request(needs),
      rules,
      oneEach: needs.source.hostPorts.length > 0 || rules.anti.some((rule) => rule.self && rule.counter.level < 0),
      ...(problem === undefined ? {} : { problem }),
    };
  });
}

/** Of equal needs, so many kinds are looked through before their texts are compared. */
const MOST_ALIKE = 4;

function sameObjects(a: PendingPod, b: PendingPod): boolean {
  return (
    a.labels === b.labels &&
    a.priority === b.priority &&
    a.gang === b.gang &&
    a.maxRuntimeS === b.maxRuntimeS &&
    a.gates === b.gates &&
    namespaceOf(a.key) === namespaceOf(b.key)
  );
}

function problemOf({ gates = [] }: PendingPod, needs: Needs, weighed: boolean): string | undefined {
  if (gates.length > 0) return `waits for its scheduling gates: ${gates.join(", ")}`;
  return needs.problem ?? (weighed ? undefined : "its tenant's pods ask more of their neighbours than one plan weighs; later plans do");
}

/** What the order of kinds looks at besides the kinds themselves. */
export interface Ranking {
  /** How many machines a kind could go to, free or not: what is taken at the moment must not change the order. */
  choices(kind: PodKind): number;
  /** The largest part of any machine's resource that one of its pods takes. */
  share(kind: PodKind): number;
}

/** Where a kind stands in the order, worked out once. */
interface Standing {
  readonly kind: PodKind;
  readonly step: number;
  /** 0: it needs a node each; 1: it is spread over nodes; 2: it minds its neighbours; 3: it does not. */
  readonly mind: number;
  readonly share: number;
  /** Sizes of one class are within a factor of two. */
  readonly size: number;
}

/** Pods of a kind that are planned together. */
export interface Batch {
  readonly kind: PodKind;
  readonly skip: number;
  readonly most: number;
}

/** A kind is taken in so many parts at most, where it is mixed with others of its size. */
const MOST_PARTS = 24;

/**
 * Who is planned first: the higher priority; gangs; who wants accelerators; who has the fewest machines to go to, in
 * rough steps, so that the flexible do not take the places of the rigid; who needs a node each, then who minds its
 * neighbours; then the larger (accelerators, then the dominant share); then the older. Kinds of about the same size
 * that mind nobody are mixed: who wants much memory shares a machine with who wants many processors.
 */
export function inOrder(kinds: readonly PodKind[], ranking: Ranking): { readonly kinds: PodKind[]; readonly batches: Batch[] } {
  const standings = kinds.map((kind): Standing => {
    const { rules } = kind;
    const minds = rules.spread.length + rules.affinity.length + rules.anti.length + rules.repelledBy.length > 0;
    const share = ranking.share(kind);
    return {
      kind,
      step: stepOf(ranking.choices(kind)),
      mind: kind.oneEach ? 0 : rules.spread.some((rule) => rule.counter.level < 0) ? 1 : minds ? 2 : 3,
      share,
      size: share > 0 ? Math.floor(Math.log2(share)) : Number.NEGATIVE_INFINITY,
    };
  });
  standings.sort((a, b) => coarse(a, b) || fine(a, b));
  const batches: Batch[] = [];
  for (let from = 0; from < standings.length; ) {
    let to = from + 1;
    while (to < standings.length && coarse(standings[from] as Standing, standings[to] as Standing) === 0) to += 1;
    mix(standings.slice(from, to), batches);
    from = to;
  }
  return { kinds: standings.map((one) => one.kind), batches };
}

function coarse(a: Standing, b: Standing): number {
  return (
    b.kind.priority - a.kind.priority ||
    Number(b.kind.gang !== undefined) - Number(a.kind.gang !== undefined) ||
    Number(b.kind.needs.accelerators > 0) - Number(a.kind.needs.accelerators > 0) ||
    a.step - b.step ||
    a.mind - b.mind ||
    b.kind.needs.accelerators - a.kind.needs.accelerators ||
    order(b.size, a.size)
  );
}

function fine(a: Standing, b: Standing): number {
  return (
    b.share - a.share ||
    order(a.kind.pods[0]?.since ?? "", b.kind.pods[0]?.since ?? "") ||
    order(a.kind.keys[0] ?? "", b.kind.keys[0] ?? "")
  );
}

function mix(standings: readonly Standing[], batches: Batch[]): void {
  const mixed = standings.length > 1 && standings.every((one) => one.mind === 3 && one.kind.gang === undefined);
  if (!mixed) {
    for (const { kind } of standings) batches.push({ kind, skip: 0, most: kind.pods.length });
    return;
  }
  const parts = standings.flatMap(({ kind }, rank) => {
    const count = Math.min(MOST_PARTS, kind.pods.length);
    const edge = (n: number) => Math.floor((n * kind.pods.length) / count);
    return Array.from({ length: count }, (_, n) => ({ kind, skip: edge(n), most: edge(n + 1) - edge(n), at: (n + 0.5) / count, rank }));
  });
  parts.sort((a, b) => a.at - b.at || a.rank - b.rank);
  for (const { kind, skip, most } of parts) batches.push({ kind, skip, most });
}

/** Few choices are told apart one by one, many only roughly. */
function stepOf(choices: number): number {
  return choices < 8 ? choices : 5 + Math.floor(Math.log2(choices));
}

import type { Columns, Request } from "./amounts.ts";
import type { Needs, NeedsTable } from "./needs.ts";
import { order } from "./order.ts";
import { keysOf } from "./terms.ts";
import type { Rules, Topology } from "./topology.ts";
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

/** The tenant's pods by kind, in no promised order. */
export function kindsOf(world: TenantWorld, table: NeedsTable, faces: Faces, topology: Topology, columns: Columns): PodKind[] {
  const kinds = new Map<string, { needs: Needs; pods: PendingPod[] }>();
  for (const pod of world.pods) {
    const needs = table.of(pod.needs);
    const gates = pod.gates && pod.gates.length > 0 ? pod.gates.join() : "";
    const key = `${needs.id} ${pod.priority} ${pod.gang ?? ""} ${pod.maxRuntimeS ?? ""} ${gates} ${faces.of(pod)}`;
    const kind = kinds.get(key);
    if (kind) kind.pods.push(pod);
    else kinds.set(key, { needs, pods: [pod] });
  }
  return [...kinds.values()].map(({ needs, pods }) => {
    if (pods.length > 1) pods.sort((a, b) => order(a.since, b.since) || order(a.key, b.key));
    const first = pods[0] as PendingPod;
    const namespace = namespaceOf(first.key);
    const rules = topology.rulesOf(needs, namespace, first.labels);
    const problem = first.gates && first.gates.length > 0 ? `waits for its scheduling gates: ${first.gates.join(", ")}` : needs.problem;
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
      request: columns.request(needs.source.requests),
      rules,
      oneEach: needs.source.hostPorts.length > 0 || rules.anti.some((rule) => rule.self && rule.counter.level < 0),
      ...(problem === undefined ? {} : { problem }),
    };
  });
}

/** What the order of kinds looks at besides the kinds themselves. */
export interface Ranking {
  /** How many machines a kind could go to, free or not: what is taken at the moment must not change the order. */
  choices(kind: PodKind): number;
  /** The largest part of any machine's resource that one of its pods takes. */
  share(kind: PodKind): number;
}

/**
 * Who is planned first: the higher priority; gangs; who wants accelerators; who has the fewest machines to go to, in
 * rough steps, so that the flexible do not take the places of the rigid; who needs a node each, then who minds its
 * neighbours; then the larger (accelerators, then the dominant share); then the older.
 */
export function kindOrder(ranking: Ranking): (a: PodKind, b: PodKind) => number {
  const cache = new Map<PodKind, { step: number; mind: number; share: number }>();
  const of = (kind: PodKind) => {
    let known = cache.get(kind);
    if (!known) {
      const { rules } = kind;
      const minds = rules.spread.length + rules.affinity.length + rules.anti.length + rules.repelledBy.length > 0;
      const mind = kind.oneEach || rules.spread.some((rule) => rule.counter.level < 0) ? 0 : minds ? 1 : 2;
      known = { step: stepOf(ranking.choices(kind)), mind, share: ranking.share(kind) };
      cache.set(kind, known);
    }
    return known;
  };
  return (a, b) =>
    b.priority - a.priority ||
    Number(b.gang !== undefined) - Number(a.gang !== undefined) ||
    Number(b.needs.accelerators > 0) - Number(a.needs.accelerators > 0) ||
    of(a).step - of(b).step ||
    of(a).mind - of(b).mind ||
    b.needs.accelerators - a.needs.accelerators ||
    of(b).share - of(a).share ||
    order(a.pods[0]?.since ?? "", b.pods[0]?.since ?? "") ||
    order(a.keys[0] ?? "", b.keys[0] ?? "");
}

/** Few choices are told apart one by one, many only roughly. */
function stepOf(choices: number): number {
  return choices < 8 ? choices : 5 + Math.floor(Math.log2(choices));
}

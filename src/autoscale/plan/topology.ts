import { LABEL_HOSTNAME } from "../../core/names.ts";
import { FIELD_NAME } from "../../core/requirements.ts";
import type { Needs } from "./needs.ts";
import { type Selects, selects } from "./terms.ts";
import type { PodTerm, Spread, TenantWorld } from "./world.ts";

/** Pods of one selector, counted by domain. */
export interface Counter {
  readonly id: number;
  readonly key: string;
  /** Which of the tenant's topology keys; the hostname is none of them: its domains are the sites themselves. */
  readonly level: number;
  readonly namespace: (namespace: string) => boolean;
  readonly selects: Selects;
  /** Nodes that count: undefined is all. */
  readonly among: NodeFilter | undefined;
  /** Counts those that keep the selected away, not the selected. */
  readonly inverse: boolean;
  counts: Int32Array;
  total: number;
}

/** Whose node affinity and tolerations decide which nodes a spread looks at. */
export interface NodeFilter {
  readonly id: string;
  readonly needs: Needs;
  readonly affinity: boolean;
  readonly taints: boolean;
}

export interface SpreadRule {
  readonly counter: Counter;
  readonly maxSkew: number;
  /** Whether the pod counts itself. */
  readonly self: boolean;
  readonly minDomains: number;
  readonly weight: number;
}

export interface TermRule {
  readonly counter: Counter;
  readonly self: boolean;
  readonly weight: number;
}

/** What a kind of pods asks of its neighbours, and which counts it changes. */
export interface Rules {
  readonly spread: readonly SpreadRule[];
  readonly softSpread: readonly SpreadRule[];
  readonly affinity: readonly TermRule[];
  readonly anti: readonly TermRule[];
  /** The heaviest first. */
  readonly softAffinity: readonly TermRule[];
  readonly softAnti: readonly TermRule[];
  /** It may not go where one of these counts. */
  readonly repelledBy: readonly Counter[];
  /** What grows where it goes. */
  readonly counted: readonly Counter[];
}

export const NO_RULES: Rules = {
  spread: [],
  softSpread: [],
  affinity: [],
  anti: [],
  softAffinity: [],
  softAnti: [],
  repelledBy: [],
  counted: [],
};

/** The tenant's topology: its counters, and what each kind of pod has to do with them. */
export class Topology {
  readonly counters: Counter[] = [];
  /** Topology keys but the hostname. */
  readonly keys: string[] = [];
  /** How many of them cannot be looked up by a label: each is asked of each kind of pods. */
  asked = 0;
  private readonly byText = new Map<string, Counter>();
  /** By a label that the selected have, `key=value` or `key`; by nothing: those that are asked. */
  private readonly byLabel = new Map<string, Counter[]>();
  private readonly domains: Map<string, number>[] = [];
  private readonly names: string[][] = [];
  private readonly tenant: TenantWorld;

  constructor(tenant: TenantWorld) {
    this.tenant = tenant;
  }

  /** Makes the counters that pods of these needs look at or feed; must be called for all before {@link rulesOf}. */
  enrol(needs: Needs, namespace: string): void {
    const { source } = needs;
    for (const one of source.spread ?? []) this.spreadCounter(one, needs, namespace);
    for (const one of [...(source.affinity ?? []), ...(source.preferredAffinity ?? []), ...(source.preferredAntiAffinity ?? [])])
      this.termCounter(one, namespace, false);
    for (const one of source.antiAffinity ?? []) {
      this.termCounter(one, namespace, false);
      this.termCounter(one, namespace, true);
    }
  }

  /** What running pods keep away. */
  enrolRepelling(needs: Needs, namespace: string): void {
    for (const one of needs.source.antiAffinity ?? []) this.termCounter(one, namespace, true);
  }

  rulesOf(needs: Needs, namespace: string, labels: Readonly<Record<string, string>>): Rules {
    if (this.counters.length === 0) return NO_RULES;
    const { source } = needs;
    const hits = (counter: Counter) => counter.namespace(namespace) && counter.selects(labels);
    const term = (one: PodTerm & { weight?: number }): TermRule => {
      const counter = this.termCounter(one, namespace, false);
      return { counter, self: hits(counter), weight: one.weight ?? 0 };
    };
    const spread = (one: Spread): SpreadRule => {
      const counter = this.spreadCounter(one, needs, namespace);
      return { counter, maxSkew: one.maxSkew, self: hits(counter), minDomains: one.minDomains ?? 1, weight: 1 };
    };
    const heaviest = (list: readonly TermRule[]) => [...list].sort((a, b) => b.weight - a.weight);
    const hit = this.hitBy(namespace, labels);
    const own = new Set((source.antiAffinity ?? []).map((one) => this.termCounter(one, namespace, true)));
    return {
      spread: (source.spread ?? []).filter((one) => one.hard).map(spread),
      softSpread: (source.spread ?? []).filter((one) => !one.hard).map(spread),
      affinity: (source.affinity ?? []).map(term),
      anti: (source.antiAffinity ?? []).map(term),
      softAffinity: heaviest((source.preferredAffinity ?? []).map(term)),
      softAnti: heaviest((source.preferredAntiAffinity ?? []).map(term)),
      repelledBy: hit.filter((counter) => counter.inverse),
      counted: [...hit.filter((counter) => !counter.inverse), ...own],
    };
  }

  /** What a running pod counts for: the counters that select it, and those of what it keeps away. */
  countedOf(away: readonly PodTerm[] | undefined, namespace: string, labels: Readonly<Record<string, string>>): readonly Counter[] {
    const own = new Set((away ?? []).map((one) => this.termCounter(one, namespace, true)));
    return [...this.hitBy(namespace, labels).filter((one) => !one.inverse), ...own];
  }

  /** The counters that select a pod. */
  private hitBy(namespace: string, labels: Readonly<Record<string, string>>): readonly Counter[] {
    const hit: Counter[] = [];
    const ask = (list: readonly Counter[] = []) => {
      for (const one of list) if (one.namespace(namespace) && one.selects(labels)) hit.push(one);
    };
    ask(this.byLabel.get(""));
    if (this.asked < this.counters.length) {
      for (const key in labels) {
        ask(this.byLabel.get(key));
        ask(this.byLabel.get(`${key}=${labels[key]}`));
      }
    }
    return hit.sort((a, b) => a.id - b.id);
  }

  /** The number of a domain of a topology key. */
  domain(level: number, value: string): number {
    const known = this.domains[level]?.get(value);
    if (known !== undefined) return known;
    const fresh = this.domains[level]?.size ?? 0;
    this.domains[level]?.set(value, fresh);
    this.names[level]?.push(value);
    return fresh;
  }

  domainName(level: number, domain: number): string {
    return this.names[level]?.[domain] ?? "";
  }

  levelOf(key: string): number {
    if (key === LABEL_HOSTNAME || key === FIELD_NAME) return -1;
    const known = this.keys.indexOf(key);
    if (known >= 0) return known;
    this.keys.push(key);
    this.domains.push(new Map());
    this.names.push([]);
    return this.keys.length - 1;
  }

  private spreadCounter(one: Spread, needs: Needs, namespace: string): Counter {
    const affinity = (one.nodeAffinityPolicy ?? "Honor") === "Honor" && needs.source.terms.some((term) => term.length > 0);
    const taints = one.nodeTaintsPolicy === "Honor";
    const id = affinity || taints ? JSON.stringify([affinity ? needs.source.terms : 0, taints ? needs.source.tolerations : 0]) : "";
    const among = id === "" ? undefined : { id, needs, affinity, taints };
    return this.counter(one.key, JSON.stringify([namespace]), (other) => other === namespace, one.selector, among, false);
  }

  private termCounter(one: PodTerm, namespace: string, inverse: boolean): Counter {
    const { namespaces, namespaceSelector } = one;
    const listed = namespaces ?? (namespaceSelector ? [] : [namespace]);
    const chosen = namespaceSelector ? selects(namespaceSelector) : undefined;
    const text = JSON.stringify([[...listed].sort(), namespaceSelector]);
    const among = (other: string) => listed.includes(other) || (chosen?.(this.namespaceLabels(other)) ?? false);
    return this.counter(one.key, text, among, one.selector, undefined, inverse);
  }

  private namespaceLabels(name: string): Readonly<Record<string, string>> {
    return { "kubernetes.io/metadata.name": name, ...this.tenant.namespaces?.[name] };
  }

  private counter(
    key: string,
    scope: string,
    namespace: Counter["namespace"],
    selector: Spread["selector"],
    among: NodeFilter | undefined,
    inverse: boolean,
  ): Counter {
    const text = JSON.stringify([key, scope, selector, among?.id, inverse]);
    const known = this.byText.get(text);
    if (known) return known;
    const fresh: Counter = {
      id: this.counters.length,
      key,
      level: this.levelOf(key),
      namespace,
      selects: selects(selector),
      among,
      inverse,
      counts: new Int32Array(8),
      total: 0,
    };
    this.counters.push(fresh);
    this.byText.set(text, fresh);
    const label = labelOf(selector);
    if (label === "") this.asked += 1;
    const list = this.byLabel.get(label);
    if (list) list.push(fresh);
    else this.byLabel.set(label, [fresh]);
    return fresh;
  }
}

/** A label all have that a selector selects, `key=value` or `key`; nothing when there is none. */
function labelOf(selector: Spread["selector"]): string {
  const [pair] = Object.entries(selector?.matchLabels ?? {});
  if (pair) return `${pair[0]}=${pair[1]}`;
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    if (operator === "In") return values.length === 1 ? `${key}=${values[0]}` : key;
    if (operator === "Exists") return key;
  }
  return "";
}

export function count(counter: Counter, domain: number, more: number): void {
  if (domain < 0) return;
  if (domain >= counter.counts.length) {
    const wider = new Int32Array(Math.max(domain + 1, counter.counts.length * 2));
    wider.set(counter.counts);
    counter.counts = wider;
  }
  counter.counts[domain] = (counter.counts[domain] ?? 0) + more;
  counter.total += more;
}

export function countOf(counter: Counter, domain: number): number {
  return counter.counts[domain] ?? 0;
}

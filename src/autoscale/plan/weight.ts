import type { LabelSelector } from "../../core/requirements.ts";
import type { Requirement } from "../../core/resources.ts";
import { order } from "./order.ts";
import { IN_TURN, inTurn, sharers } from "./rounds.ts";
import type { PendingPod, PodNeeds, TenantWorld, World } from "./world.ts";

/** Requirements and values a pod may have before they are weighed: more than ordinary pods ever have. */
const FREE = 64;
/** How much beyond that is made ready in one plan, by all tenants that want something together; about a second's worth. */
const WEIGHT = 100_000;
/** What a tenant may always have, however many there are. */
const LEAST_WEIGHT = 2_000;

/** A world in which no tenant's pods say more than a plan may read, and the pods that wait for the next round. */
export interface Bounded {
  readonly world: World;
  readonly rest: readonly { readonly tenant: string; readonly pods: readonly string[] }[];
}

/**
 * Counted before anything is made of what pods say: making it ready is most of its cost. Equal pods count once. The higher
 * priority is read first, then the older; the first pod of a tenant whatever its weight. Half as much again is read of those
 * that are cut off, in turn: who is read first and never placed does not keep them waiting for ever.
 */
export function bounded(world: World): Bounded {
  const most = Math.max(LEAST_WEIGHT, Math.floor(WEIGHT / sharers(world.tenants)));
  const rest: Bounded["rest"][number][] = [];
  const tenants = world.tenants.map((tenant) => {
    const late = beyond(tenant, most, world.now);
    if (late.size === 0) return tenant;
    rest.push({ tenant: tenant.tenant, pods: [...late].map((pod) => pod.key).sort(order) });
    return { ...tenant, pods: tenant.pods.filter((pod) => !late.has(pod)) };
  });
  return rest.length === 0 ? { world, rest } : { world: { ...world, tenants }, rest };
}

function beyond({ pods }: TenantWorld, most: number, now: number | undefined): ReadonlySet<PendingPod> {
  const weights = new Map<PodNeeds, number>();
  const heavy: PendingPod[] = [];
  let all = 0;
  for (const pod of pods) {
    let weight = weights.get(pod.needs);
    if (weight === undefined) {
      weight = Math.max(0, weightOf(pod.needs) - FREE);
      weights.set(pod.needs, weight);
      all += weight;
    }
    if (weight > 0) heavy.push(pod);
  }
  if (all <= most) return new Set();
  const needs = [...new Set(heavy.sort(byRank).map((pod) => pod.needs))];
  const texts = new Set<string>();
  const cut = inTurn(unread(needs, most, weights, texts), now);
  const late = new Set(unread(cut, most * IN_TURN, weights, texts));
  return new Set(heavy.filter((pod) => late.has(pod.needs)));
}

/** What is left of a list once so much of it is read, the first whatever its weight. A text of what is large costs as well: it is made of no more than that. */
function unread(list: readonly PodNeeds[], most: number, weights: ReadonlyMap<PodNeeds, number>, texts: Set<string>): readonly PodNeeds[] {
  let used = 0;
  for (const [nth, needs] of list.entries()) {
    const text = textOf(needs);
    if (texts.has(text)) continue;
    const weight = weights.get(needs) ?? 0;
    if (used > 0 && used + weight > most) return list.slice(nth);
    used += weight;
    texts.add(text);
  }
  return [];
}

function byRank(a: PendingPod, b: PendingPod): number {
  return b.priority - a.priority || order(a.since, b.since) || order(a.key, b.key);
}

function textOf({ requests, ...others }: PodNeeds): string {
  return JSON.stringify([[...requests].map(([name, amount]) => `${name}=${amount}`).sort(), others]);
}

function weightOf(needs: PodNeeds): number {
  const selectors = [needs.spread, needs.affinity, needs.antiAffinity, needs.preferredAffinity, needs.preferredAntiAffinity];
  return (
    ofLists(needs.terms) +
    (needs.volumes ?? []).reduce((sum, alternatives) => sum + ofLists(alternatives), 0) +
    (needs.preferred ?? []).reduce((sum, one) => sum + ofTerm(one.term), 0) +
    selectors.reduce((sum, list) => sum + (list ?? []).reduce((all, one) => all + ofSelector(one.selector), 0), 0) +
    needs.tolerations.length +
    needs.hostPorts.length +
    needs.requests.size
  );
}

function ofLists(terms: readonly (readonly Requirement[])[]): number {
  return terms.reduce((sum, term) => sum + ofTerm(term), 0);
}

function ofTerm(term: readonly Requirement[]): number {
  return term.reduce((sum, { values }) => sum + 1 + (values?.length ?? 0), 1);
}

function ofSelector(selector: LabelSelector | undefined): number {
  const expressions = (selector?.matchExpressions ?? []).reduce((sum, { values }) => sum + 1 + (values?.length ?? 0), 1);
  return expressions + Object.keys(selector?.matchLabels ?? {}).length;
}

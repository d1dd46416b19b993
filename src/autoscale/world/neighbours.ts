import type { Requirement } from "../../core/resources.ts";
import type { LabelSelector, PodAffinityTerm, PodSpec, TopologySpreadConstraint } from "../../kube/index.ts";
import type { PodNeeds, PodTerm, Spread } from "../plan/index.ts";

type Labels = Readonly<Record<string, string>>;

/** Where a pod would rather be, and what it wants of its neighbours: only what it says, so that equal pods stay equal. */
export function wishesOf(spec: PodSpec, labels: Labels): Partial<PodNeeds> {
  const { nodeAffinity, podAffinity, podAntiAffinity } = spec.affinity ?? {};
  const preferred = (nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).flatMap(({ weight, preference }) => {
    const term: Requirement[] = [...(preference.matchExpressions ?? []), ...(preference.matchFields ?? [])];
    return term.length > 0 ? [{ weight, term }] : [];
  });
  const hard = (terms: readonly PodAffinityTerm[] = []) => terms.map((one) => termOf(one, labels));
  const soft = (terms: readonly { weight: number; podAffinityTerm: PodAffinityTerm }[] = []) =>
    terms.map((one) => ({ ...termOf(one.podAffinityTerm, labels), weight: one.weight }));
  const lists = {
    preferred,
    spread: (spec.topologySpreadConstraints ?? []).map((one) => spreadOf(one, labels)),
    affinity: hard(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution),
    antiAffinity: hard(podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution),
    preferredAffinity: soft(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution),
    preferredAntiAffinity: soft(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution),
  };
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

function spreadOf(one: TopologySpreadConstraint, labels: Labels): Spread {
  const selector = narrowed(one.labelSelector, labels, one.matchLabelKeys, []);
  return {
    key: one.topologyKey,
    maxSkew: one.maxSkew,
    hard: one.whenUnsatisfiable === "DoNotSchedule",
    ...(selector ? { selector } : {}),
    ...(one.minDomains === undefined ? {} : { minDomains: one.minDomains }),
    ...(one.nodeAffinityPolicy ? { nodeAffinityPolicy: one.nodeAffinityPolicy } : {}),
    ...(one.nodeTaintsPolicy ? { nodeTaintsPolicy: one.nodeTaintsPolicy } : {}),
  };
}

function termOf(one: PodAffinityTerm, labels: Labels): PodTerm {
  const selector = narrowed(one.labelSelector, labels, one.matchLabelKeys, one.mismatchLabelKeys);
  return {
    key: one.topologyKey,
    ...(selector ? { selector } : {}),
    ...(one.namespaces && one.namespaces.length > 0 ? { namespaces: one.namespaces } : {}),
    ...(one.namespaceSelector ? { namespaceSelector: one.namespaceSelector } : {}),
  };
}

/** A missing selector selects no pod; the pod's own values of `matchLabelKeys` are part of the others. */
function narrowed(
  selector: LabelSelector | undefined,
  labels: Labels,
  match: readonly string[] = [],
  mismatch: readonly string[] = [],
): LabelSelector | undefined {
  if (!selector) return undefined;
  const only = (keys: readonly string[], operator: "In" | "NotIn") =>
    keys.flatMap((key) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
      return value === undefined ? [] : [{ key, operator, values: [value] }];
    });
  const more = [...only(match, "In"), ...only(mismatch, "NotIn")];
  return more.length === 0 ? selector : { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...more] };
}

import { add, largest, ONE, type Quantity, type Resources, sum } from "../../core/quantity.ts";
import type { LabelSelector } from "../../core/requirements.ts";
import type { Requirement } from "../../core/resources.ts";
import type { PodNeeds, PodTerm, Spread } from "../plan/index.ts";
import type { Pod, Type } from "./form.ts";
import { labelOf } from "./labels.ts";

const GPU = "nvidia.com/gpu";
/** Devices of a class that DRA hands out are counted like any resource, under this name. */
const DEVICES = "devices.resource.k8s.io/";

interface Amounts {
  readonly cpu?: Quantity | undefined;
  readonly mem?: Quantity | undefined;
  readonly gpu?: Quantity | undefined;
  readonly res?: Readonly<Record<string, Quantity>> | undefined;
}

function resourcesOf({ cpu, mem, gpu, res }: Amounts): Resources {
  const own: [string, Quantity | undefined][] = [["cpu", cpu], ["memory", mem], [GPU, gpu], ...Object.entries(res ?? {})];
  return new Map(own.filter((entry): entry is [string, Quantity] => entry[1] !== undefined && entry[1] > 0n));
}

function devicesOf(devices: Readonly<Record<string, number>> | undefined): Resources {
  return new Map(Object.entries(devices ?? {}).map(([name, count]) => [DEVICES + name, BigInt(count) * ONE]));
}

/** What a server of a type offers to pods. */
export function offerOf(type: Type): Resources {
  return add(
    resourcesOf(type),
    resourcesOf({ res: type.resources }),
    devicesOf(type.devices),
    devicesOf(type.dra),
    new Map([["pods", BigInt(type.pods) * ONE]]),
  );
}

/** As the scheduler counts: containers and sidecars, or the largest init container beside them; and the overhead. */
function requestsOf(pod: Pod): Resources {
  const sidecars = sum([...(pod.sidecars ?? []), { cpu: pod.sidecarCpu, mem: pod.sidecarMem }].map(resourcesOf));
  const init = [...(pod.init ?? []), { cpu: pod.initCpu, mem: pod.initMem, gpu: pod.initGpu }].map(resourcesOf);
  const main = add(resourcesOf(pod), resourcesOf({ res: pod.resources }), sidecars);
  const peak = largest(main, ...init.map((one) => add(one, sidecars)));
  const overhead = add(resourcesOf(pod.overhead ?? {}), resourcesOf({ cpu: pod.overheadCpu, mem: pod.overheadMem }));
  return add(peak, overhead, devicesOf(pod.devices), devicesOf(pod.dra), new Map([["pods", ONE]]));
}

/** What decides where a pod of a scenario can run. */
export function needsOf(pod: Pod): PodNeeds {
  const selected = Object.entries(pod.sel ?? {}).map(([key, value]): Requirement => ({ key, operator: "In", values: [value] }));
  const volumes = [...(pod.volumes ?? []), ...(pod.pvc ?? []), ...(pod.volumeZone ? [{ zone: pod.volumeZone }] : [])].map(volumeOf);
  return {
    requests: requestsOf(pod),
    terms: (pod.req ?? [[]]).map((term) => [...selected, ...term]),
    tolerations: pod.tol ?? [],
    hostPorts: [...(pod.hostPort ?? []), ...(pod.hostPorts ?? [])],
    ...(volumes.length > 0 ? { volumes } : {}),
    ...(pod.pref ? { preferred: pod.pref } : {}),
    ...(pod.spread ? { spread: pod.spread.map((one) => spreadOf(one, pod.labels)) } : {}),
    ...(pod.aff ? { affinity: pod.aff.map((one) => podTerm(one, pod.labels)) } : {}),
    ...(pod.anti ? { antiAffinity: pod.anti.map((one) => podTerm(one, pod.labels)) } : {}),
    ...(pod.prefAff ? { preferredAffinity: pod.prefAff.map(({ weight, term }) => ({ weight, ...podTerm(term, pod.labels) })) } : {}),
    ...(pod.prefAnti ? { preferredAntiAffinity: pod.prefAnti.map(({ weight, term }) => ({ weight, ...podTerm(term, pod.labels) })) } : {}),
  };
}

type Volume = NonNullable<Pod["volumes"]>[number];

function volumeOf(volume: Volume | { readonly zone: string[] }): readonly (readonly Requirement[])[] {
  const zones: Requirement[] = "zone" in volume && volume.zone ? [{ key: labelOf("zone"), operator: "In", values: volume.zone }] : [];
  const terms = ("req" in volume ? volume.req : undefined) ?? [[]];
  return terms.map((term) => [...zones, ...term]);
}

type Labels = Readonly<Record<string, string>>;

function spreadOf(spread: NonNullable<Pod["spread"]>[number], labels: Labels): Spread {
  return {
    key: spread.key,
    maxSkew: spread.skew,
    hard: spread.when === "DoNotSchedule",
    selector: narrowed(spread.match, labels, spread.matchLabelKeys),
    ...(spread.minDomains === undefined ? {} : { minDomains: spread.minDomains }),
    ...(spread.nodeAffinityPolicy === undefined ? {} : { nodeAffinityPolicy: spread.nodeAffinityPolicy }),
    ...(spread.nodeTaintsPolicy === undefined ? {} : { nodeTaintsPolicy: spread.nodeTaintsPolicy }),
  };
}

type Affinity = NonNullable<Pod["anti"]>[number];

function podTerm(term: Affinity, labels: Labels): PodTerm {
  const selector = narrowed(term.match, labels, term.matchLabelKeys, term.mismatchLabelKeys);
  const namespaces = term.ns ?? term.namespaces;
  return {
    key: term.key,
    selector,
    ...(namespaces === undefined ? {} : { namespaces }),
    ...(term.namespaceSelector === undefined ? {} : { namespaceSelector: term.namespaceSelector }),
  };
}

/** Without a selector of its own a term is about the pod's like: those of its labels. */
function narrowed(
  match: LabelSelector | undefined,
  labels: Labels,
  same: readonly string[] = [],
  other: readonly string[] = [],
): LabelSelector {
  const selector = match ?? { matchLabels: labels };
  const keyed = (keys: readonly string[], operator: "In" | "NotIn") =>
    keys.flatMap((key): Requirement[] => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
      return value === undefined ? [] : [{ key, operator, values: [value] }];
    });
  const more = [...keyed(same, "In"), ...keyed(other, "NotIn")];
  return more.length === 0 ? selector : { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...more] };
}

import { add, largest, ONE, parseResources, type Resources } from "../../core/quantity.ts";
import type { Requirement } from "../../core/resources.ts";
import { type Container, type DaemonSet, keyOf, type Pod, type PodDisruptionBudget, type PodSpec } from "../../kube/index.ts";
import type { Daemon, HostPort, PendingPod, PodNeeds, RunningPod, Toleration } from "../plan/index.ts";
import { podDisruption } from "./disruption.ts";
import { wishesOf } from "./neighbours.ts";
import { NO_STORAGE, type Storage, volumesOf } from "./volumes.ts";

/** The scheduler's own verdict: no node there is will do. Gated pods have another reason, preemptors have a node in sight. */
export function isUnschedulable(pod: Pod): boolean {
  if (pod.spec.nodeName || pod.metadata.deletionTimestamp || isFinished(pod)) return false;
  if (pod.status?.nominatedNodeName || (pod.spec.schedulingGates ?? []).length > 0) return false;
  const scheduled = pod.status?.conditions?.find((one) => one.type === "PodScheduled");
  return scheduled?.status === "False" && scheduled.reason === "Unschedulable" && !isOfDaemonSet(pod) && !isMirror(pod);
}

export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isOfDaemonSet(pod: Pod): boolean {
  return pod.metadata.ownerReferences?.some((owner) => owner.kind === "DaemonSet" && owner.apiVersion.startsWith("apps/")) ?? false;
}

/** A static pod's shadow in the API: the node's own, it comes and goes with it. */
export function isMirror(pod: Pod): boolean {
  return pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
}

/** Work that keeps a node from being empty. */
export function isWorkload(pod: Pod): boolean {
  return !isFinished(pod) && !isOfDaemonSet(pod) && !isMirror(pod);
}

export function pendingPod(pod: Pod, storage: Storage = NO_STORAGE): PendingPod {
  return {
    key: keyOf(pod),
    since: pod.metadata.creationTimestamp ?? "",
    priority: pod.spec.priority ?? 0,
    labels: pod.metadata.labels ?? {},
    needs: needsOf(pod, storage),
  };
}

function needsOf(pod: Pod, storage: Storage): PodNeeds {
  const { volumes, unsupported } = volumesOf(pod, storage);
  const needs = podNeeds(pod.spec, pod.metadata.labels);
  const problem = needs.unsupported ?? unsupported;
  return { ...needs, ...(volumes ? { volumes } : {}), ...(problem === undefined ? {} : { unsupported: problem }) };
}

/** A pod that is bound to a node, as its neighbours see it. */
export function runningPod(
  pod: Pod,
  budgets: readonly PodDisruptionBudget[] = [],
  now = new Date(0),
  storage: Storage = NO_STORAGE,
): RunningPod {
  return {
    ...podDisruption(pod, budgets, now),
    key: keyOf(pod),
    labels: pod.metadata.labels ?? {},
    priority: pod.spec.priority ?? 0,
    needs: needsOf(pod, storage),
    ...((pod.metadata.ownerReferences ?? []).some((owner) => owner.controller) ? {} : { bare: true }),
  };
}

export function podNeeds(spec: PodSpec, labels: Readonly<Record<string, string>> = {}): PodNeeds {
  const unsupported = notPlannedYet(spec);
  return {
    ...wishesOf(spec, labels),
    requests: add(podRequests(spec), new Map([["pods", ONE]])),
    terms: nodeTerms(spec),
    tolerations: spec.tolerations ?? [],
    hostPorts: hostPorts(spec),
    ...(unsupported === undefined ? {} : { unsupported }),
  };
}

/**
 * What the scheduler counts for a pod: containers and sidecars together, or the largest init container with the
 * sidecars started before it; pod-level requests instead where they are set; and the runtime's overhead.
 */
export function podRequests(spec: PodSpec): Resources {
  const of = (container: Container) => parseResources(container.resources?.requests);
  let sidecars: Resources = new Map();
  let init: Resources = new Map();
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === "Always") {
      sidecars = add(sidecars, of(container));
      init = largest(init, sidecars);
    } else {
      init = largest(init, add(of(container), sidecars));
    }
  }
  const containers = largest(add(sidecars, ...spec.containers.map(of)), init);
  const pod = new Map([...containers, ...parseResources(spec.resources?.requests)]);
  return add(pod, parseResources(spec.overhead));
}

/** One list for each alternative; the node selector is part of each. */
function nodeTerms(spec: PodSpec): Requirement[][] {
  const selector = Object.entries(spec.nodeSelector ?? {}).map(([key, value]): Requirement => ({ key, operator: "In", values: [value] }));
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return [selector];
  return required.nodeSelectorTerms
    .map((term) => [...(term.matchExpressions ?? []), ...(term.matchFields ?? [])])
    .filter((term) => term.length > 0)
    .map((term) => [...selector, ...term]);
}

export function hostPorts(spec: PodSpec): HostPort[] {
  const containers = [...spec.containers, ...(spec.initContainers ?? []).filter((one) => one.restartPolicy === "Always")];
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, hostIP = "", protocol = "TCP", containerPort }) => {
      const port = hostPort ?? (spec.hostNetwork ? containerPort : 0);
      return port > 0 ? [{ ip: hostIP, port, protocol }] : [];
    }),
  );
}

function notPlannedYet(spec: PodSpec): string | undefined {
  if ("resourceClaims" in spec) return "it has resourceClaims, which are not planned yet";
  return undefined;
}

/** The DaemonSet controller lets its pods onto nodes that have these: node problems do not keep a daemon away. */
const DAEMON_TOLERATIONS: readonly Toleration[] = [
  "node.kubernetes.io/not-ready",
  "node.kubernetes.io/unreachable",
  "node.kubernetes.io/disk-pressure",
  "node.kubernetes.io/memory-pressure",
  "node.kubernetes.io/pid-pressure",
  "node.kubernetes.io/unschedulable",
].map((key) => ({ key, operator: "Exists" }));

export function daemonOf(set: DaemonSet): Daemon {
  const needs = podNeeds(set.spec.template.spec);
  return { name: keyOf(set), needs: { ...needs, tolerations: [...needs.tolerations, ...DAEMON_TOLERATIONS] } };
}

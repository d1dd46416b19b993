import type { Taint } from "../../core/resources.ts";
import type { HostPort, Toleration } from "./world.ts";

/** Taints a node carries only until it is up: they say nothing about the node it will be. */
const EPHEMERAL: ReadonlySet<string> = new Set([
  "node.kubernetes.io/not-ready",
  "node.kubernetes.io/unreachable",
  "node.kubernetes.io/network-unavailable",
  "node.cloudprovider.kubernetes.io/uninitialized",
  "karpenter.sh/unregistered",
]);
const READINESS = "readiness.k8s.io/";

export function isEphemeral(taint: Taint): boolean {
  return EPHEMERAL.has(taint.key) || taint.key.startsWith(READINESS);
}

export function sameTaint(a: Taint, b: Taint): boolean {
  return a.key === b.key && a.effect === b.effect && (a.value ?? "") === (b.value ?? "");
}

/** The taints that count for a node on its way up. */
export function lastingTaints(taints: readonly Taint[], startup: readonly Taint[]): readonly Taint[] {
  return taints.filter((taint) => !isEphemeral(taint) && !startup.some((one) => sameTaint(one, taint)));
}

export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  if (toleration.operator === "Exists") return true;
  if (!toleration.key || (toleration.operator && toleration.operator !== "Equal")) return false;
  return (toleration.value ?? "") === (taint.value ?? "");
}

/** The first hard taint nobody tolerates. */
export function blockingTaint(taints: readonly Taint[], tolerations: readonly Toleration[]): Taint | undefined {
  return taints.find((taint) => taint.effect !== "PreferNoSchedule" && !tolerations.some((one) => tolerates(one, taint)));
}

/** A PreferNoSchedule taint steers away, and never strands. */
export function steersAway(taints: readonly Taint[], tolerations: readonly Toleration[]): boolean {
  return taints.some((taint) => taint.effect === "PreferNoSchedule" && !tolerations.some((one) => tolerates(one, taint)));
}

export function taintText(taint: Taint): string {
  return `${taint.key}${taint.value ? `=${taint.value}` : ""}:${taint.effect}`;
}

/** A port on all addresses conflicts with the same port on any. */
export function portsConflict(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || isAny(a.ip) || isAny(b.ip);
}

function isAny(ip: string): boolean {
  return ip === "" || ip === "0.0.0.0" || ip === "::";
}

import type { VirtualCluster } from "../core/resources.ts";

/**
 * How many control planes are to be started from nothing before this one: who came first is first. One that was given a control plane, or has had
 * one, waits for nobody.
 */
export function madeBefore(cluster: VirtualCluster, all: readonly VirtualCluster[]): number {
  if (!waits(cluster)) return 0;
  return all.filter((other) => waits(other) && orderOf(other) < orderOf(cluster)).length;
}

function waits({ metadata, status }: VirtualCluster): boolean {
  return !metadata.deletionTimestamp && status?.plane === undefined && (status?.phase ?? "Creating") === "Creating";
}

function orderOf({ metadata }: VirtualCluster): string {
  return `${metadata.creationTimestamp ?? "9"} ${metadata.namespace}/${metadata.name}`;
}

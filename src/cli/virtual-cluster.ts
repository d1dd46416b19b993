import { systemClock } from "../core/clock.ts";
import { condition } from "../core/conditions.ts";
import { IronwrightError, isError } from "../core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { type Kube, NAMESPACE } from "../kube/index.ts";
import { age } from "./print.ts";
import { type Look, waitFor } from "./wait.ts";

export interface Named {
  readonly project: string;
  readonly name: string;
}

/** @throws IRW_PROJECT_UNKNOWN, IRW_TENANT_UNKNOWN */
export async function existing(kube: Kube, at: Named): Promise<VirtualCluster> {
  const found = await kube.get(VIRTUAL_CLUSTER, at.name, at.project);
  if (found) return found;
  await projectExists(kube, at.project);
  throw new IronwrightError("IRW_TENANT_UNKNOWN", at);
}

/** Where somebody may not look at namespaces, it is taken to be there: the next request says what is not. */
export async function projectExists(kube: Kube, project: string): Promise<void> {
  try {
    if (!(await kube.get(NAMESPACE, project))) throw new IronwrightError("IRW_PROJECT_UNKNOWN", { project });
  } catch (error) {
    if (!isError(error, "IRW_KUBE_REFUSED")) throw error;
  }
}

/** The error that says with what a name collides. */
export function collision({ project, name }: Named, { metadata, status }: VirtualCluster, now: Date): IronwrightError {
  const phase = metadata.deletionTimestamp ? "being deleted" : (status?.phase ?? "not looked at yet");
  return new IronwrightError("IRW_TENANT_EXISTS", { project, name, since: age(metadata.creationTimestamp, now), phase });
}

/** Waits, with a line on stderr, until a virtual cluster is as wanted; `undefined` is one that is gone. */
export function waitUntil(
  kube: Kube,
  { project, name }: Named,
  { wanted, timeoutMs, look }: { wanted: string; timeoutMs: number; look(now: VirtualCluster | undefined): Look },
): Promise<number> {
  return waitFor({
    what: `virtual cluster ${project}/${name}`,
    wanted,
    timeoutMs,
    clock: systemClock,
    out: process.stderr,
    look: async () => look(await kube.get(VIRTUAL_CLUSTER, name, project)),
  });
}

/** What a virtual cluster says of itself now. */
export function saysNow({ status, metadata }: VirtualCluster): string {
  const ready = condition(status?.conditions, "Ready");
  if (metadata.generation !== undefined && (status?.observedGeneration ?? 0) < metadata.generation) return "the daemon to look at it";
  return ready?.message || status?.phase || "the daemon to look at it";
}

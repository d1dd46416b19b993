import type { Requirement } from "../../core/resources.ts";
import { keyOf, type PersistentVolume, type PersistentVolumeClaim, type Pod, type StorageClass } from "../../kube/index.ts";
import type { PodNeeds } from "../plan/index.ts";

/** What is known of a tenant's storage. */
export interface Storage {
  readonly claims: ReadonlyMap<string, PersistentVolumeClaim>;
  readonly volumes: ReadonlyMap<string, PersistentVolume>;
  readonly classes: ReadonlyMap<string, StorageClass>;
}

export const NO_STORAGE: Storage = { claims: new Map(), volumes: new Map(), classes: new Map() };

export function storageOf(known: {
  readonly claims: readonly PersistentVolumeClaim[];
  readonly volumes: readonly PersistentVolume[];
  readonly classes: readonly StorageClass[];
}): Storage {
  return {
    claims: new Map(known.claims.map((one) => [keyOf(one), one])),
    volumes: new Map(known.volumes.map((one) => [one.metadata.name, one])),
    classes: new Map(known.classes.map((one) => [one.metadata.name, one])),
  };
}

type Terms = readonly (readonly Requirement[])[];

/**
 * Where a pod's volumes can be: a bound one where its PersistentVolume says, one that waits for its first pod where its
 * class allows. One that is bound at once, but is not bound yet, keeps the pod waiting, as the scheduler does.
 */
export function volumesOf(pod: Pod, storage: Storage): Pick<PodNeeds, "volumes" | "unsupported"> {
  const volumes: Terms[] = [];
  for (const volume of pod.spec.volumes ?? []) {
    const { persistentVolumeClaim, ephemeral, name } = volume;
    if (!persistentVolumeClaim && !ephemeral) continue;
    const claimName = persistentVolumeClaim?.claimName ?? `${pod.metadata.name}-${name}`;
    const claim = storage.claims.get(`${pod.metadata.namespace}/${claimName}`);
    if (!claim && !ephemeral) return { unsupported: `its volume ${name}: there is no PersistentVolumeClaim ${claimName}` };
    const terms = claim?.spec.volumeName
      ? ofVolume(storage.volumes.get(claim.spec.volumeName), claim.spec.volumeName)
      : ofClass(claim?.spec.storageClassName ?? ephemeral?.volumeClaimTemplate?.spec?.storageClassName, storage);
    if (typeof terms === "string") return { unsupported: `its volume ${name}: ${terms}` };
    if (terms.length > 0) volumes.push(terms);
  }
  return volumes.length > 0 ? { volumes } : {};
}

function ofVolume(volume: PersistentVolume | undefined, name: string): Terms | string {
  if (!volume) return `there is no PersistentVolume ${name}`;
  return (volume.spec.nodeAffinity?.required?.nodeSelectorTerms ?? []).map((term) => [
    ...(term.matchExpressions ?? []),
    ...(term.matchFields ?? []),
  ]);
}

function ofClass(name: string | undefined, storage: Storage): Terms | string {
  if (name === undefined || name === "") return "its PersistentVolumeClaim is not bound and names no StorageClass";
  const one = storage.classes.get(name);
  if (!one) return `there is no StorageClass ${name}`;
  if (one.volumeBindingMode !== "WaitForFirstConsumer") return "its PersistentVolumeClaim is not bound yet";
  return (one.allowedTopologies ?? []).map((topology) =>
    (topology.matchLabelExpressions ?? []).map(({ key, values }): Requirement => ({ key, operator: "In", values })),
  );
}

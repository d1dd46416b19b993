import { SYSTEM_NAMESPACE, type TenantRef } from "../core/names.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { CellStatus, Slept, Woken } from "../supervise/index.ts";
import type { DatastoreAccess } from "./datastore.ts";
import type { Bundle } from "./pki.ts";
import type { TenantSpec } from "./spec.ts";

/** All a runtime needs to know of one tenant's control plane. */
export interface ControlPlane {
  readonly ref: TenantRef;
  /** What names its processes, files and keys: a name may come again, and a control plane may be older than its tenant. */
  readonly id: string;
  readonly spec: TenantSpec;
  readonly port: number;
  /** The user its processes run as, and its group of the same number; absent where tenants are not isolated. */
  readonly user?: number;
  /** The address nodes and pods reach the apiserver at. */
  readonly address: string;
  readonly bundle: Bundle;
  readonly datastore: DatastoreAccess;
}

/** Where the daemon dials an apiserver. */
export interface Dial {
  readonly server: string;
  /** A way of the daemon's own, which nobody else can crowd. */
  readonly socketPath?: string;
}

/** Which control plane is a VirtualCluster's: one that it was given, or its own from the beginning. */
export function idOf({ metadata, status }: VirtualCluster): string {
  return status?.plane ?? metadata.uid ?? "";
}

/** What a control plane is called that no tenant has yet. */
export function namelessRef(id: string): TenantRef {
  return { namespace: SYSTEM_NAMESPACE, name: `warm-${id}` };
}

export function isNameless({ ref, id }: ControlPlane): boolean {
  return ref.namespace === SYSTEM_NAMESPACE && ref.name === `warm-${id}`;
}

/**
 * What runs control planes: `process` (children of the supervisor on this host) today; `pods` on any Kubernetes fits
 * behind the same verbs.
 */
export interface Runtime {
  /**
   * Makes the control plane run as given and answer, and wakes one that sleeps. Idempotent; what already runs so is not touched.
   * @throws IRW_CHILD_NOT_READY with the process' last words
   */
  ensure(plane: ControlPlane, signal: AbortSignal): Promise<void>;
  /**
   * Nothing of it runs, and next to nothing of it is in memory, until it is woken: frozen where that can be, else stopped, and it is said why.
   * @throws IRW_ISOLATION where it is in no cell
   */
  hibernate(id: string): Promise<Slept>;
  /** Its processes are ended, and are started when it is woken. */
  stop(id: string): Promise<Slept>;
  /** Resolves when it answers a call from what its datastore has now. Idempotent; callers at the same time share one waking. */
  wake(id: string): Promise<Woken>;
  /** Whether it sleeps, and what it takes; undefined when there is none, or it is in no cell. */
  cell(id: string): Promise<CellStatus | undefined>;
  /**
   * Brings its files up to date and starts nothing: for one that sleeps, whose certificates end while it does. What reads them as it
   * starts alone is started when it is woken.
   */
  refresh(plane: ControlPlane): Promise<void>;
  dial(plane: ControlPlane): Dial;
  /** What of it ended by itself not long ago and runs again, with its last words. */
  restarts(id: string): Promise<string | undefined>;
  /**
   * Resolves when all of it goes on that was asleep: a waking resolves a moment before, when it answers.
   * @throws IRW_CHILD_NOT_READY
   */
  goesOn(id: string, signal: AbortSignal): Promise<void>;
  /** Why it does not run whole, or undefined when it does. */
  ailment(id: string): Promise<string | undefined>;
  /**
   * Stops it and removes all it had; resolves when nothing is left.
   * @throws IRW_TENANT_LEFTOVER
   */
  remove(id: string): Promise<void>;
}

import { IronwrightError, isError } from "../core/errors.ts";
import { refOf, tenantText } from "../core/names.ts";
import type { VirtualCluster } from "../core/resources.ts";
import { type TakenAddress, type TenantSpec, tenantSpec } from "./spec.ts";
import { meant } from "./template/resolve.ts";

export interface SpecReaderOptions {
  /** The bundle's version, e.g. `v1.36.3`. */
  readonly kubeVersion: string;
  /** Control planes of this host can sleep. */
  readonly sleeps: boolean;
  /** What no tenant's networks may overlap. */
  readonly taken: readonly TakenAddress[];
  readonly shortestOverlapMs?: number;
}

/** What a VirtualCluster, with its template's part, asks for on this host. @throws IRW_RESOURCE_INVALID, IRW_VERSION_UNSUPPORTED */
export type SpecReader = (cluster: VirtualCluster) => TenantSpec;

export function specReader({ kubeVersion, sleeps, taken, shortestOverlapMs }: SpecReaderOptions): SpecReader {
  return (cluster) => {
    const spec = tenantSpec(meant(cluster), kubeVersion, taken, shortestOverlapMs);
    if (!spec.sleep || sleeps) return spec;
    const resource = `VirtualCluster ${tenantText(refOf(cluster))}`;
    const problems = "spec.sleep: tenants.isolation is none, and only what is in a cell sleeps";
    throw new IronwrightError("IRW_RESOURCE_INVALID", { resource, problems });
  };
}

/** What its people have to correct is for a condition; anything else is thrown. */
export async function orRefusal<T>(look: () => T | Promise<T>): Promise<T | IronwrightError> {
  try {
    return await look();
  } catch (error) {
    const refused = isError(error, "IRW_RESOURCE_INVALID") || isError(error, "IRW_VERSION_UNSUPPORTED") || isError(error, "IRW_REFERENCE");
    if (refused) return error;
    throw error;
  }
}

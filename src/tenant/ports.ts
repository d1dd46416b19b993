import { IronwrightError } from "../core/errors.ts";
import type { VirtualCluster } from "../core/resources.ts";

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** The lowest port no VirtualCluster has, those being deleted included. */
export function choosePort({ from, to }: PortRange, clusters: readonly VirtualCluster[]): number {
  const taken = new Set(clusters.map((one) => one.status?.port));
  for (let port = from; port <= to; port += 1) if (!taken.has(port)) return port;
  throw new IronwrightError("IRW_TENANT_PORTS", { from, to });
}

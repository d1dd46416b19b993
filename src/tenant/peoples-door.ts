import { tenantText } from "../core/names.ts";
import { hostNames } from "./gateway/route.ts";
import type { Isolation } from "./isolation.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { keyedOf, trustOf } from "./pki.ts";
import type { ControlPlane } from "./runtime.ts";

/** Where people come in: by the front door, which wakes a sleeper; where there is none, by the apiserver's own port. */
export interface PeoplesDoor {
  /** Addresses people dial; without any, they dial {@link nodes}. */
  readonly people: readonly string[];
  readonly nodes: string;
  readonly isolation: Isolation | undefined;
}

const EVERYWHERE = "0.0.0.0";

/** What they dial, and by which name where that is not its host. */
export function peoplesWay(
  { ref, port }: Pick<ControlPlane, "ref" | "port">,
  { people, nodes, isolation }: PeoplesDoor,
): { readonly server: string; readonly serverName?: string } {
  const address = people[0] ?? nodes;
  if (!isolation) return { server: `https://${address}:${port}` };
  const { frontDoor, domain } = isolation;
  const host = frontDoor.address === EVERYWHERE ? address : frontDoor.address;
  const [serverName = ""] = hostNames(ref, domain);
  return { server: `https://${host}:${frontDoor.port}`, serverName };
}

/** A kubeconfig of the tenant's administrator. */
export function peoplesKubeconfig(plane: ControlPlane, door: PeoplesDoor): string {
  const { ref, bundle } = plane;
  const client = keyedOf(bundle, "people");
  return kubeconfig({ ...peoplesWay(plane, door), ca: trustOf(bundle), user: `${ref.name}-admin`, cluster: tenantText(ref), client });
}

import { IronwrightError } from "../core/errors.ts";
import { tenantText } from "../core/names.ts";
import type { VirtualCluster } from "../core/resources.ts";
import { addressAt, contains, type Network, overlap, parseNetwork } from "./cidr.ts";

/** A VirtualCluster's spec with defaults filled in and checked. */
export interface TenantSpec {
  /** Full version of the bundle, e.g. `v1.36.3`. */
  readonly version: string;
  readonly podCIDR: string;
  readonly serviceCIDR: string;
  /** The address of `kubernetes.default`. */
  readonly serviceAddress: string;
}

/** What a tenant's networks must leave alone: each with the words for people. */
export interface TakenAddress {
  readonly address: string;
  readonly whose: string;
}

const DEFAULT_POD_CIDR = "10.244.0.0/16";
const DEFAULT_SERVICE_CIDR = "10.96.0.0/16";
/** One node's share of the pod network, as the controller-manager hands it out. */
export const NODE_CIDR_BITS = 24;
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/**
 * Reads and checks the spec; pure. Throws IRW_RESOURCE_INVALID with every problem's field, or IRW_VERSION_UNSUPPORTED;
 * nothing is started then.
 */
export function tenantSpec(cluster: VirtualCluster, bundleVersion: string, taken: readonly TakenAddress[]): TenantSpec {
  const { spec, metadata } = cluster;
  const problems: string[] = [];
  checkNames(metadata.namespace ?? "", metadata.name, problems);
  if (spec.nodeMode !== undefined && spec.nodeMode !== "private")
    problems.push(`spec.nodeMode: expected private, got ${String(spec.nodeMode)}`);

  const pods = checkNetwork("spec.podCIDR", spec.podCIDR ?? DEFAULT_POD_CIDR, { shortest: 8, longest: NODE_CIDR_BITS }, taken, problems);
  const services = checkNetwork(
    "spec.serviceCIDR",
    spec.serviceCIDR ?? DEFAULT_SERVICE_CIDR,
    { shortest: 12, longest: 28 },
    taken,
    problems,
  );
  if (pods && services && overlap(pods, services)) {
    problems.push(`spec.podCIDR: ${pods.text} overlaps spec.serviceCIDR ${services.text}; choose two networks without a common address`);
  }
  if (problems.length > 0 || !pods || !services) {
    const resource = `VirtualCluster ${metadata.namespace}/${metadata.name}`;
    throw new IronwrightError("IRW_RESOURCE_INVALID", { resource, problems: problems.join("\n") });
  }
  if (!isVersion(spec.version, bundleVersion)) {
    throw new IronwrightError("IRW_VERSION_UNSUPPORTED", { wanted: String(spec.version), have: bundleVersion });
  }
  return { version: bundleVersion, podCIDR: pods.text, serviceCIDR: services.text, serviceAddress: addressAt(services, 1) };
}

function checkNames(namespace: string, name: string, problems: string[]): void {
  for (const [field, value] of [
    ["metadata.namespace", namespace],
    ["metadata.name", name],
  ] as const) {
    if (!LABEL.test(value)) problems.push(`${field}: expected letters, digits and dashes (RFC 1123 label), got ${value}`);
  }
  const text = tenantText({ namespace, name });
  // it is a label's value on machines and claims
  if (text.length > 63) problems.push(`metadata.name: ${text} has ${text.length} characters; namespace and name together may have 62`);
}

function checkNetwork(
  field: string,
  text: string,
  bits: { readonly shortest: number; readonly longest: number },
  taken: readonly TakenAddress[],
  problems: string[],
): Network | undefined {
  const network = parseNetwork(text);
  if (!network) {
    problems.push(`${field}: expected an IPv4 network such as ${DEFAULT_POD_CIDR}, got ${text}`);
    return undefined;
  }
  if (network.bits < bits.shortest || network.bits > bits.longest) {
    problems.push(`${field}: expected a prefix length from /${bits.shortest} to /${bits.longest}, got /${network.bits}`);
  }
  for (const { address, whose } of taken) {
    if (contains(network, address)) problems.push(`${field}: ${text} contains ${address}, ${whose}`);
  }
  return network;
}

/** `1.36`, `v1.36` and `v1.36.3` all name a bundle of `v1.36.3`. */
function isVersion(wanted: string | undefined, bundle: string): boolean {
  if (wanted === undefined) return true;
  const [full, text] = [bundle, wanted].map((one) => one.replace(/^v/, ""));
  return text === full || text === full?.split(".").slice(0, 2).join(".");
}

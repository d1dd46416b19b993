import { parseDuration } from "../core/duration.ts";
import { IronwrightError } from "../core/errors.ts";
import { LABEL_TENANT, tenantText } from "../core/names.ts";
import { ONE, quantity } from "../core/quantity.ts";
import type { VirtualCluster } from "../core/resources.ts";
import type { VirtualClusterSpec } from "../core/virtual-clusters.ts";
import { addressAt, contains, type Network, overlap, parseNetwork } from "./cidr.ts";
import type { DatastoreWish } from "./placement.ts";
import { wantedKeys } from "./rotation.ts";
import { type SleepPolicy, sleepPolicy } from "./sleep/policy.ts";
import { shapeProblems } from "./spec-shape.ts";

/** A VirtualCluster's spec with defaults filled in and checked. */
export interface TenantSpec {
  /** Full version of the bundle, e.g. `v1.36.3`. */
  readonly version: string;
  readonly podCIDR: string;
  readonly serviceCIDR: string;
  /** The address of `kubernetes.default`. */
  readonly serviceAddress: string;
  /** Absent: it never sleeps. */
  readonly sleep?: SleepPolicy;
  /** It is deleted so long after it was made. */
  readonly ttlMs?: number;
  /** Where its objects are, and how much it may write. */
  readonly datastore: DatastoreWish;
  /** What all its processes may take together. */
  readonly limits?: ControlPlaneLimits;
}

export interface ControlPlaneLimits {
  /** Thousandths of a CPU. */
  readonly cpuMillis?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
}

/** What a tenant's networks must leave alone, an address or a network: each with the words for people. */
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
export function tenantSpec(
  cluster: VirtualCluster,
  bundleVersion: string,
  taken: readonly TakenAddress[],
  shortestOverlapMs?: number,
): TenantSpec {
  const { spec } = cluster;
  const problems = shapeProblems(spec);
  if (problems.length > 0) throw invalid(cluster, problems);
  checkNames(cluster, problems);

  const pods = checkNetwork("spec.podCIDR", spec.podCIDR ?? DEFAULT_POD_CIDR, { shortest: 8, longest: NODE_CIDR_BITS }, taken, problems);
  const services = checkNetwork(
    "spec.serviceCIDR",
    spec.serviceCIDR ?? DEFAULT_SERVICE_CIDR,
    { shortest: 12, longest: 28 },
    taken,
    problems,
  );
  problems.push(...wantedKeys(cluster, shortestOverlapMs).problems);
  if (pods && services && overlap(pods, services)) {
    problems.push(`spec.podCIDR: ${pods.text} overlaps spec.serviceCIDR ${services.text}; choose two networks without a common address`);
  }
  for (const [field, network] of [
    ["podCIDR", pods],
    ["serviceCIDR", services],
  ] as const) {
    const before = cluster.status?.[field];
    if (network && before !== undefined && before !== network.text)
      problems.push(
        `spec.${field}: ${network.text} differs from ${before}, which it was made with; running pods and services have addresses in it`,
      );
  }
  if (problems.length > 0 || !pods || !services) throw invalid(cluster, problems);
  if (!isVersion(spec.version, bundleVersion)) {
    throw new IronwrightError("IRW_VERSION_UNSUPPORTED", { wanted: String(spec.version), have: bundleVersion });
  }
  return {
    version: bundleVersion,
    podCIDR: pods.text,
    serviceCIDR: services.text,
    serviceAddress: addressAt(services, 1),
    datastore: datastoreWish(spec.datastore),
    ...asked(spec),
  };
}

function invalid({ metadata }: VirtualCluster, problems: readonly string[]): IronwrightError {
  const resource = `VirtualCluster ${metadata.namespace}/${metadata.name}`;
  return new IronwrightError("IRW_RESOURCE_INVALID", { resource, problems: problems.join("\n") });
}

function datastoreWish({ kind, quota }: NonNullable<VirtualClusterSpec["datastore"]> = {}): DatastoreWish {
  return { ...(kind ? { kind } : {}), ...(quota === undefined ? {} : { quotaBytes: Number(quantity(quota) / ONE) }) };
}

/** What is there only where somebody asked for it. */
function asked({ sleep, ttl, resources }: VirtualClusterSpec): Partial<TenantSpec> {
  const { cpu, memory, pids } = resources ?? {};
  const limits = {
    ...(cpu === undefined ? {} : { cpuMillis: Number(quantity(cpu) / (ONE / 1_000n)) }),
    ...(memory === undefined ? {} : { memoryBytes: Number(quantity(memory) / ONE) }),
    ...(pids === undefined ? {} : { pids }),
  };
  return {
    ...(sleep ? { sleep: sleepPolicy(sleep) } : {}),
    ...(ttl === undefined ? {} : { ttlMs: parseDuration(ttl) ?? Number.POSITIVE_INFINITY }),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
  };
}

function checkNames({ metadata }: VirtualCluster, problems: string[]): void {
  const { namespace = "", name } = metadata;
  for (const [field, value] of [
    ["metadata.namespace", namespace],
    ["metadata.name", name],
  ] as const) {
    if (!LABEL.test(value)) problems.push(`${field}: expected letters, digits and dashes (RFC 1123 label), got ${value}`);
  }
  const text = tenantText({ namespace, name });
  // it is a label's value on machines and claims
  if (text.length > 63) problems.push(`metadata.name: ${text} has ${text.length} characters; namespace and name together may have 62`);
  const label = metadata.labels?.[LABEL_TENANT];
  if (label !== undefined && label !== text)
    problems.push(`metadata.labels[${LABEL_TENANT}]: ${label} is what marks the machines of another tenant; leave it out, or say ${text}`);
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
    const other = parseNetwork(address);
    if (other && overlap(network, other)) problems.push(`${field}: ${text} overlaps ${address}, ${whose}`);
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

import ipaddr from "ipaddr.js";
import { contains, type Network, parseNetwork, sameAddress } from "../cidr.ts";

/** How one of a tenant's nodes is reached over SSH, for what only it can reach. */
export interface SshRoad {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  /** Of a key that may do nothing there but forward. */
  readonly keyFile: string;
  /** The only key the node may show, `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
}

export interface EgressNode {
  readonly name: string;
  /** What the daemon knows of the machine; never what a Node object says of itself. */
  readonly addresses: readonly string[];
  /** The node's part of the pod network, where that is known. */
  readonly podCIDR?: string | undefined;
  readonly ssh?: SshRoad | undefined;
}

export interface Ports {
  readonly from: number;
  readonly to: number;
}

/** Nobody's to dial, whatever else a policy says. */
export interface Fence {
  /** An address, or a network such as 10.0.5.0/24. */
  readonly network: string;
  /** Words that end a sentence: "is … ". */
  readonly whose: string;
}

export interface EgressPolicy {
  readonly nodes: readonly EgressNode[];
  readonly podCIDR: string;
  readonly serviceCIDR: string;
  /** Ports of nodes; the kubelet's and those of NodePort services by default. */
  readonly nodePorts?: readonly Ports[] | undefined;
  readonly fences?: readonly Fence[] | undefined;
  /** Whose an address is that is not this tenant's: the host's, another tenant's. */
  readonly foreign?: ((address: string) => string | undefined) | undefined;
}

export type Verdict =
  | { readonly allow: true; readonly by: "direct"; readonly address: string; readonly port: number }
  /** Through SSH to one of these nodes; the first is the nearest. */
  | { readonly allow: true; readonly by: "ssh"; readonly address: string; readonly port: number; readonly nodes: readonly EgressNode[] }
  | { readonly allow: false; readonly reason: string };

const NODE_PORTS: readonly Ports[] = [
  { from: 10250, to: 10250 },
  { from: 30000, to: 32767 },
];

/** What no tenant has, by the names of ipaddr.js. */
const NEVER: Readonly<Record<string, string>> = {
  loopback: "a loopback address",
  linkLocal: "a link-local address, where clouds keep their metadata",
  multicast: "a multicast address",
  broadcast: "the broadcast address",
  unspecified: "no address of anybody",
  ipv4Mapped: "an IPv4 address in the clothes of IPv6",
  rfc6145: "an IPv4 address in the clothes of IPv6",
  rfc6052: "an IPv4 address in the clothes of IPv6",
  "6to4": "an IPv4 address in the clothes of IPv6",
  teredo: "an IPv4 address in the clothes of IPv6",
};

/**
 * Whether a tenant's apiserver may dial this, and how: only that tenant's nodes, pods and services. Pure; no name is looked up
 * anywhere but among the tenant's own nodes.
 */
export function mayDial(policy: EgressPolicy, host: string, port: number): Verdict {
  if (!Number.isInteger(port) || port < 1 || port > 65535) return refuse("it is no port");
  const at = addressOf(policy, host);
  if (typeof at !== "string") return at;
  const kind = NEVER[ipaddr.parse(at).range()];
  if (kind) return refuse(`${at} is ${kind}`);
  const whose = policy.foreign?.(at) ?? policy.fences?.find(({ network }) => isWithin(network, at))?.whose;
  if (whose) return refuse(`${at} is ${whose}`);

  if (policy.nodes.some((node) => hasAddress(node, at))) {
    const allowed = (policy.nodePorts ?? NODE_PORTS).some(({ from, to }) => from <= port && port <= to);
    return allowed ? { allow: true, by: "direct", address: at, port } : refuse(`port ${port} of a node is not to be dialled`);
  }
  for (const [network, what] of [
    [parseNetwork(policy.podCIDR), "pod"],
    [parseNetwork(policy.serviceCIDR), "service"],
  ] as const) {
    if (!network || !contains(network, at)) continue;
    const nodes = nearestFirst(policy.nodes, at);
    return nodes.length > 0
      ? { allow: true, by: "ssh", address: at, port, nodes }
      : refuse(`${at} is a ${what}'s address, and none of the tenant's nodes gives a way to it`);
  }
  return refuse(`${at} is not an address of the tenant's nodes, pods or services`);
}

/** Of a node's name, its first address; of an address in its usual spelling, itself. */
function addressOf({ nodes }: EgressPolicy, host: string): string | Extract<Verdict, { allow: false }> {
  const address = canonical(host);
  if (address === "spelled") return refuse(`${host} is not how that address is written`);
  if (address) return address;
  const named = nodes.find(({ name }) => name === host);
  if (!named) return refuse(`${host} is a name, and only names of the tenant's own nodes are known here`);
  const [first] = named.addresses;
  const own = first === undefined ? undefined : canonical(first);
  return own === undefined || own === "spelled" ? refuse(`node ${host} has no address`) : own;
}

/** `spelled`: it would be an address, to one library or another, in a spelling that hides which (0177.0.0.1, 0x7f.1, 2130706433). */
function canonical(host: string): string | "spelled" | undefined {
  if (host.includes(":") || host.includes("%")) {
    if (!ipaddr.IPv6.isValid(host) || host.includes("%")) return "spelled";
    return ipaddr.IPv6.parse(host).toString();
  }
  if (!/^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?$/i.test(host)) return undefined;
  return ipaddr.IPv4.isValidFourPartDecimal(host) && ipaddr.IPv4.parse(host).toString() === host ? host : "spelled";
}

function hasAddress({ addresses }: EgressNode, at: string): boolean {
  return addresses.some((one) => sameAddress(one, at));
}

function isWithin(network: string, at: string): boolean {
  const parsed: Network | undefined = parseNetwork(network);
  return parsed ? contains(parsed, at) : sameAddress(network, at);
}

/** The node whose part of the pod network holds the address, then the others: a node routes to the pods of its like. */
function nearestFirst(nodes: readonly EgressNode[], at: string): readonly EgressNode[] {
  const distance = ({ podCIDR }: EgressNode) => (podCIDR !== undefined && isWithin(podCIDR, at) ? 0 : 1);
  return nodes.filter(({ ssh }) => ssh !== undefined).sort((one, other) => distance(one) - distance(other));
}

function refuse(reason: string): Extract<Verdict, { allow: false }> {
  return { allow: false, reason };
}

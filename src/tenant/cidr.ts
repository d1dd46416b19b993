import ipaddr from "ipaddr.js";

/** An IPv4 network. */
export interface Network {
  readonly text: string;
  readonly first: number;
  readonly last: number;
  readonly bits: number;
}

/** Reads `a.b.c.d/n` strictly; the address must be the network's own. Undefined when it is anything else. */
export function parseNetwork(text: string): Network | undefined {
  const match = /^(\d{1,3}(?:\.\d{1,3}){3})\/(\d{1,2})$/.exec(text);
  const bits = Number(match?.[2]);
  if (!match?.[1] || !ipaddr.IPv4.isValidFourPartDecimal(match[1]) || bits > 32) return undefined;
  const size = 2 ** (32 - bits);
  const first = toNumber(match[1]);
  return first % size === 0 ? { text, first, last: first + size - 1, bits } : undefined;
}

export function overlap(one: Network, other: Network): boolean {
  return one.first <= other.last && other.first <= one.last;
}

export function contains(network: Network, address: string): boolean {
  if (!ipaddr.IPv4.isValidFourPartDecimal(address)) return false;
  const number = toNumber(address);
  return network.first <= number && number <= network.last;
}

/** The `index`-th address of a network: Kubernetes takes the first of the service network for `kubernetes.default`. */
export function addressAt(network: Network, index: number): string {
  const number = network.first + index;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join(".");
}

/** Whether two texts mean one address (IPv6 has many spellings). */
export function sameAddress(one: string, other: string): boolean {
  if (!ipaddr.isValid(one) || !ipaddr.isValid(other)) return false;
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString();
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

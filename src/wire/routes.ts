import type { Network } from "./address.ts";

export interface Route {
  readonly to: Network;
  readonly via: number;
}

/** Option 121 (RFC 3442): each route as its prefix length, the octets of the prefix that count, and the router. */
export function classlessRoutes(routes: readonly Route[]): Uint8Array {
  const bytes: number[] = [];
  for (const { to, via } of routes) {
    const prefix = prefixLength(to);
    const network = (to.own & to.mask) >>> 0;
    bytes.push(prefix, ...octets(network).slice(0, Math.ceil(prefix / 8)), ...octets(via));
  }
  return Uint8Array.from(bytes);
}

export function prefixLength({ mask }: Network): number {
  return mask === 0 ? 0 : 32 - Math.round(Math.log2(2 ** 32 - mask));
}

function octets(address: number): number[] {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255);
}

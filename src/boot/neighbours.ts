import { parseIpv4 } from "../wire/index.ts";
import type { BootInterface } from "./contract.ts";

/** What the kernel keeps for itself and for others on the wire. */
const OTHERS = 24;

/**
 * Interfaces whose own network may hold more machines than the kernel has room for neighbours: it drops what goes to the others, and
 * their boots stop without a word. Networks behind relays count for one.
 * @param room net.ipv4.neigh.default.gc_thresh3, which is the whole host's
 */
export function tooManyNeighbours(interfaces: readonly BootInterface[], room: number): string | undefined {
  const ranges = interfaces.filter(({ mode }) => mode !== "off").flatMap(({ pool, bmc }) => [pool ?? [], bmc?.pool ?? []].flat());
  const machines = ranges.reduce((sum, { from, to }) => sum + (parseIpv4(to) ?? 0) - (parseIpv4(from) ?? 0) + 1, 0);
  if (machines + OTHERS <= room) return undefined;
  return `the pools have ${machines} addresses and the kernel room for ${room} neighbours; with more machines at once, raise net.ipv4.neigh.default.gc_thresh3 or put them behind relays`;
}

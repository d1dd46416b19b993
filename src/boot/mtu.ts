import { readFileSync } from "node:fs";
import { isOn, type Network } from "../wire/index.ts";

const ETHERNET = 1500;

/**
 * The largest packet that reaches a client whole: the interface's on its own network, an Ethernet frame's behind a relay, for
 * nobody knows what is on the way.
 */
export function mtuOf(name: string, network: Network | undefined, client: number | undefined): number {
  if (!network || client === undefined || !isOn(network, client)) return ETHERNET;
  try {
    // not /sys/class/net: that shows the network namespace it was mounted in, this shows the reader's own
    const mtu = Number(readFileSync(`/proc/sys/net/ipv6/conf/${name}/mtu`, "utf8"));
    return mtu >= 576 ? mtu : ETHERNET;
  } catch {
    return ETHERNET;
  }
}

import { IronwrightError } from "../core/errors.ts";
import { isOn, type Network, parseIpv4, parseNetwork, type Route } from "../wire/index.ts";
import type { Pool } from "./addresses.ts";
import type { AddressRange, BootInterface, ServedNetwork } from "./contract.ts";
import { type GivenOption, givenOptions } from "./dhcp-options.ts";
import type { Request } from "./facts.ts";
import { createReservations, type Reservations } from "./reservations.ts";

/** The pool that BMCs alone get addresses of. */
export const BMC_POOL = "bmc";

/** One network that addresses are given on: the interface's own, or one behind relays. */
export interface Subnet {
  /** With the daemon's own address on it; behind a relay, with the network's. */
  readonly network: Network;
  readonly isRelayed: boolean;
  readonly pools: readonly Pool[];
  /** Addresses that reservations name. */
  readonly fixed: readonly number[];
  readonly router: number | undefined;
  /** RFC 3442, the default route included; empty when only the router is known. */
  readonly routes: readonly Route[];
  /** Relays outside the network that may speak for it. */
  readonly relays: ReadonlySet<number>;
  readonly reservations: Reservations;
  readonly options: readonly GivenOption[];
  isBmc(request: Request): boolean;
}

/**
 * The networks of one interface, its own first.
 * @throws IRW_CONFIG_INVALID where a text is not what it should be; the configuration's schema has refused that before
 */
export function subnetsOf(at: BootInterface): readonly Subnet[] {
  const relayed = at.subnets ?? [];
  return [
    subnet(at, at.address, `${at.name}: address`, false, []),
    ...relayed.map((one) => subnet(one, one.network, `${at.name}: network ${one.network}`, true, one.relays ?? [])),
  ];
}

function subnet(served: ServedNetwork, text: string, where: string, isRelayed: boolean, relays: readonly string[]): Subnet {
  const given = parseNetwork(text);
  if (!given) throw invalid(where, text);
  const network = isRelayed ? { own: (given.own & given.mask) >>> 0, mask: given.mask } : given;
  const address = (one: string) => parseIpv4(one) ?? raise(invalid(where, one));
  const router = served.router === undefined ? undefined : address(served.router);
  const routes = (served.routes ?? []).map(({ to, via }) => ({ to: parseNetwork(to) ?? raise(invalid(where, to)), via: address(via) }));
  const everywhere: Route[] = router === undefined || routes.length === 0 ? [] : [{ to: { own: 0, mask: 0 }, via: router }];
  return {
    network,
    isRelayed,
    pools: [...poolsOf(served.pool, address), ...poolsOf(served.bmc?.pool, address, BMC_POOL)],
    fixed: (served.reservations ?? []).flatMap((one) => (one.address === undefined ? [] : [address(one.address)])),
    router,
    routes: [...routes, ...everywhere],
    relays: new Set(relays.map(address)),
    reservations: createReservations(served.reservations ?? []),
    options: givenOptions(served.options),
    isBmc: bmcRule(served.bmc),
  };
}

function poolsOf(given: ServedNetwork["pool"], address: (text: string) => number, name?: string): Pool[] {
  if (given === undefined) return [];
  const ranges = Array.isArray(given) ? (given as readonly AddressRange[]) : [given as AddressRange];
  return ranges.map(({ from, to }) => ({ from: address(from), to: address(to), name }));
}

function bmcRule(bmc: ServedNetwork["bmc"]): (request: Request) => boolean {
  if (!bmc) return () => false;
  const { vendorClasses = [], ouis = [] } = bmc;
  return ({ vendorClass, hardware }) =>
    vendorClasses.some((prefix) => vendorClass.startsWith(prefix)) || ouis.some((prefix) => hardware.startsWith(prefix));
}

/**
 * Which of the networks a message is about: by link selection (RFC 3527), else by the relay's address, else by the client's own
 * where it renews through a router, else the interface's own.
 * @returns the network, or why none
 */
export function chooseSubnet<T extends Subnet>(
  request: Request,
  subnets: readonly T[],
): T | "relayed from a network not configured" | "relay not configured" {
  const { relayAddress, clientAddress } = request.frame;
  if (relayAddress === 0) {
    const own = subnets[0];
    const renewed = clientAddress === 0 ? undefined : subnets.find((one) => isOn(one.network, clientAddress));
    return renewed ?? own ?? "relayed from a network not configured";
  }
  const named = request.relay?.linkSelection ?? relayAddress;
  const found = subnets.find((one) => isOn(one.network, named));
  if (!found) return "relayed from a network not configured";
  // whoever may send here could name any relay; the answer goes only to those that are ours
  const isOurs = found.relays.has(relayAddress) || subnets.some((one) => isOn(one.network, relayAddress) && !isGiven(one, relayAddress));
  return isOurs ? found : "relay not configured";
}

/** Clients are given such an address: one that says by it to be a relay would vouch for its own option 82. */
function isGiven({ router, pools }: Subnet, address: number): boolean {
  return address !== router && pools.some(({ from, to }) => from <= address && address <= to);
}

function invalid(where: string, text: string): IronwrightError<"IRW_CONFIG_INVALID"> {
  return new IronwrightError("IRW_CONFIG_INVALID", {
    source: `boot.interfaces (${where})`,
    problems: `  ${JSON.stringify(text)} is not an IPv4 address`,
  });
}

function raise(error: Error): never {
  throw error;
}

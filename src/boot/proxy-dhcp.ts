import { isOn, MESSAGE, type Network, parseFrame, parseIpv4 } from "../wire/index.ts";
import type { BootAnswer } from "./answer.ts";
import type { BootChoice } from "./boot-choice.ts";
import { type IdentifyOptions, identify } from "./client.ts";
import { reply } from "./dhcp-reply.ts";
import { atRelay, type DhcpServer, EVERYBODY, type Outgoing, type Peer } from "./dhcp-server.ts";
import { type Request, readRequest } from "./facts.ts";
import type { Refusals } from "./refusals.ts";
import type { Sightings } from "./sightings.ts";
import { chooseSubnet, type Subnet } from "./subnets.ts";

export interface ProxyDhcpOptions extends IdentifyOptions {
  /** The daemon's address on the interface. */
  readonly network: Network;
  readonly subnets: readonly Subnet[];
  readonly choice: BootChoice;
  /** Which NIC was seen with which address: the site's DHCP server gives them. */
  readonly sightings: Sightings;
  readonly refusals: Refusals;
}

/**
 * A ProxyDHCP server (PXE 2.1 §2.2) beside the DHCP server that a site keeps: it gives no addresses, refuses none, and answers only
 * who asks to boot and has something to boot from here.
 */
export interface ProxyDhcp {
  /** Port 67: DISCOVERs, by an offer without an address. */
  readonly offers: DhcpServer;
  /** Port 4011, where a client that has its address asks for its boot file: by REQUEST, by INFORM from some. */
  readonly boots: DhcpServer;
}

export function createProxyDhcp(options: ProxyDhcpOptions): ProxyDhcp {
  const { network, subnets, choice, sightings, refusals } = options;

  function onOffers(datagram: Uint8Array, from: Peer): Outgoing | undefined {
    const request = read(datagram, from);
    if (!request) return undefined;
    if (request.type === MESSAGE.request) {
      // of no interest but for this: it tells which address the NIC is about to have
      const address = request.requestedAddress ?? request.frame.clientAddress;
      if (address !== 0) sightings.saw(request.hardware, address);
      return undefined;
    }
    if (request.type !== MESSAGE.discover || request.kind === "plain") return undefined;
    const to = request.frame.relayAddress === 0 ? EVERYBODY : atRelay(request, from);
    return boot(request, MESSAGE.offer, to);
  }

  function onBoots(datagram: Uint8Array, from: Peer): Outgoing | undefined {
    const request = read(datagram, from);
    if (!request) return undefined;
    const { clientAddress } = request.frame;
    if (request.type !== MESSAGE.request && request.type !== MESSAGE.inform) return refuse("proxy: not a request", from);
    if (request.kind === "plain") return refuse("proxy: not a boot request", from);
    const source = parseIpv4(from.address) ?? 0;
    if (clientAddress !== 0 && source !== 0 && source !== clientAddress)
      return refuse("proxy: sent from another address than it names", from);
    if (source === 0 || !subnets.some((one) => isOn(one.network, source))) return refuse("proxy: asked from another network", from);
    sightings.saw(request.hardware, source);
    return boot(request, MESSAGE.ack, from);
  }

  function boot(request: Request, type: number, to: Peer): Outgoing | undefined {
    const subnet = chooseSubnet(request, subnets);
    if (typeof subnet === "string") return refuse(`dhcp: ${subnet}`, to);
    const who = identify(request, subnet, options);
    const answer: BootAnswer = choice.choose(request, who);
    // silence leaves the client to whoever else boots it
    if (answer.boot === "nothing") {
      if (who.record) choice.told(request, who, type, 0, answer);
      return undefined;
    }
    const datagram = reply(request, { type, server: network.own, next: network.own, answer, isProxy: true });
    choice.told(request, who, type, 0, answer);
    return { datagram, to };
  }

  function read(datagram: Uint8Array, from: Peer): Request | undefined {
    const frame = parseFrame(datagram);
    if (typeof frame === "string") return refuse(`dhcp: ${frame}`, from);
    const request = readRequest(frame);
    return typeof request === "string" ? refuse(`dhcp: ${request}`, from) : request;
  }

  function refuse(reason: string, from: Peer): undefined {
    refusals.count(reason, { from: from.address });
    return undefined;
  }

  return { offers: { answer: onOffers }, boots: { answer: onBoots } };
}

import { ipv4Text, isOn, MESSAGE, parseFrame, parseIpv4 } from "../wire/index.ts";
import type { BootAnswer } from "./answer.ts";
import type { BootChoice } from "./boot-choice.ts";
import { type IdentifyOptions, identify, type ServedSubnet, type Who } from "./client.ts";
import type { ConflictProbe } from "./conflict-probe.ts";
import { type GivenOption, optionsFor } from "./dhcp-options.ts";
import { type ReplyFacts, reply } from "./dhcp-reply.ts";
import { clientName, type Request, readRequest } from "./facts.ts";
import type { Journal } from "./journal.ts";
import type { LeaseChange } from "./leases.ts";
import type { Refusals } from "./refusals.ts";
import { chooseSubnet } from "./subnets.ts";

export interface DhcpServerOptions extends IdentifyOptions {
  /** The daemon's address on the interface. */
  readonly own: number;
  /** The interface's own network first, then those behind relays. */
  readonly subnets: readonly ServedSubnet[];
  readonly choice: BootChoice;
  /** The interface's, for all its networks. */
  readonly options: readonly GivenOption[];
  /** Seconds. */
  readonly lease: { readonly machines: number; readonly others: number };
  /** Whether a client with a wrong address is told so. */
  readonly authoritative: boolean;
  /** NICs of known machines that have no address yet: so many are kept free for them. */
  owed(): number;
  /** Asked before a client is given an address that it has not had; none asks nobody. */
  readonly probe?: ConflictProbe | undefined;
  readonly journal: Journal;
  readonly refusals: Refusals;
}

export interface Outgoing {
  readonly datagram: Uint8Array;
  readonly to: Peer;
  /** The change of leases it rests on: it leaves when that is on disk. */
  readonly commit?: LeaseChange;
}

export interface Peer {
  readonly address: string;
  readonly port: number;
}

export interface DhcpServer {
  /**
   * The answer to one datagram, or undefined where silence is the answer. Pure but for the book; a promise only where the network
   * is asked first whether somebody has the address.
   */
  answer(datagram: Uint8Array, from: Peer): Outgoing | undefined | Promise<Outgoing | undefined>;
}

/** No client asks for less in earnest. */
const SHORTEST_LEASE_S = 60;
/** Addresses tried when the network says that they are used. */
const PROBES = 3;

/** RFC 2131 §4.3 for one interface: reservations, a lasting address for each NIC of a known machine, a lease for everybody else. */
export function createDhcpServer(options: DhcpServerOptions): DhcpServer {
  const { own, subnets, choice, journal, refusals } = options;

  function answer(datagram: Uint8Array, from: Peer): ReturnType<DhcpServer["answer"]> {
    const frame = parseFrame(datagram);
    if (typeof frame === "string") return refuse(`dhcp: ${frame}`, { from: from.address });
    const request = readRequest(frame);
    if (typeof request === "string") return refuse(`dhcp: ${request}`, { from: from.address });
    const subnet = chooseSubnet(request, subnets);
    if (typeof subnet === "string") return refuse(`dhcp: ${subnet}`, { relay: ipv4Text(frame.relayAddress) });
    if (isForeign(request, from)) {
      return refuse("dhcp: sent from another address than it names", { from: from.address, names: ipv4Text(frame.clientAddress) });
    }
    const exchange = { request, subnet, from, who: identify(request, subnet, options) };
    switch (request.type) {
      case MESSAGE.discover:
        return discover(exchange, PROBES);
      case MESSAGE.request:
        return requested(exchange);
      case MESSAGE.decline:
        return decline(exchange);
      case MESSAGE.release:
        return release(exchange);
      case MESSAGE.inform:
        return inform(exchange);
      default:
        return refuse("dhcp: a server's message", { from: from.address, hardware: request.hardware });
    }
  }

  function discover(exchange: Exchange, tries: number): ReturnType<DhcpServer["answer"]> {
    const { request, subnet, who } = exchange;
    const { book } = subnet;
    const leave = who.isKnown || who.isBmc ? 0 : options.owed();
    const address = book.choose(leave === 0 ? who.client : { ...who.client, leave }, request.requestedAddress);
    if (address === undefined)
      return refuse("dhcp: no address is free", { hardware: request.hardware, network: ipv4Text(subnet.network.own) });
    // RFC 2131 §2.2: also one that another client had before
    const isUsed = subnet.isRelayed || book.had(address, who.client) ? false : (options.probe?.isUsed(address) ?? false);
    if (isUsed === false) return send(exchange, MESSAGE.offer, address);
    return Promise.resolve(isUsed).then((used) => {
      if (!used) return send(exchange, MESSAGE.offer, address);
      book.decline(who.client, address);
      refuse("dhcp: the address is used by somebody else", { address: ipv4Text(address), hardware: request.hardware });
      return tries > 1 ? discover(exchange, tries - 1) : undefined;
    });
  }

  /** The four states of a REQUEST: RFC 2131 §4.3.2. */
  function requested(exchange: Exchange): Outgoing | undefined {
    const { request, subnet, who } = exchange;
    const { book, network } = subnet;
    const { clientAddress } = request.frame;
    const address = request.requestedAddress ?? clientAddress;
    if (request.server !== undefined) {
      // SELECTING: the client chose a server; another one's success is no business of ours
      if (!isUs(request.server, request)) return elsewhere(exchange, request.server);
      if (address === 0 || address !== book.held(who.client)) return refuseLease(exchange, "this address was not offered");
      return lease(exchange, address);
    }
    if (address === 0) return refuse("dhcp: a request without an address", { hardware: request.hardware });
    if (!isOn(network, address)) return refuseWrong(exchange, "the address is of another network");
    const held = book.held(who.client);
    // INIT-REBOOT, RENEWING or REBINDING
    if (held === address) return lease(exchange, address);
    if (held !== undefined || !book.isFree(address, who.client)) return refuseWrong(exchange, "the address is not this client's");
    // RFC 2131 §4.3.2: of a client we have no record of we say nothing; but one that renews after we lost the record may go on
    return clientAddress === address && request.relay?.wasUnicast !== false ? lease(exchange, address) : undefined;
  }

  /** RFC 5107: a relay may have told the client to know us by another address, and then passes on what comes there. */
  function isUs(server: number, { frame, relay }: Request): boolean {
    return server === own || (frame.relayAddress !== 0 && server === relay?.serverOverride);
  }

  /** It takes another server's offer: worth knowing when it then does not boot. */
  function elsewhere({ request, who }: Exchange, server: number): undefined {
    const other = ipv4Text(server);
    const sign = { what: "elsewhere", client: request.kind, name: clientName(request), server: other } as const;
    if (who.record) journal.add(who.record.machine, "dhcp", `asked another DHCP server, ${other}, for its address`, sign);
    return undefined;
  }

  function lease(exchange: Exchange, address: number): Outgoing {
    const commit = exchange.subnet.book.bind(exchange.who.client, address, leaseSeconds(exchange));
    return send(exchange, MESSAGE.ack, address, commit);
  }

  /** RFC 2131 §4.3.3: only what the client was given, and only by the server that gave it. */
  function decline({ request, subnet, who }: Exchange): undefined {
    const address = request.requestedAddress;
    const facts = { address: ipv4Text(address ?? 0), hardware: request.hardware };
    if (request.server !== undefined && !isUs(request.server, request)) return undefined;
    if (address === undefined || !subnet.book.decline(who.client, address))
      return refuse("dhcp: a decline of what it was not given", facts);
    if (who.record) {
      const sign = { what: "declined", client: request.kind, name: clientName(request) } as const;
      journal.add(who.record.machine, "dhcp", `declined ${facts.address}: somebody else uses it`, sign);
    }
    return refuse("dhcp: declined, the address is used by somebody else", facts);
  }

  /** RFC 2131 §4.3.4. */
  function release({ request, subnet, who }: Exchange): undefined {
    const { clientAddress } = request.frame;
    if (request.server !== undefined && !isUs(request.server, request)) return undefined;
    if (clientAddress === 0 || subnet.book.held(who.client) !== clientAddress) {
      return refuse("dhcp: a release of what it does not hold", { address: ipv4Text(clientAddress), hardware: request.hardware });
    }
    subnet.book.release(who.client, clientAddress);
    return undefined;
  }

  /** RFC 2131 §4.3.5: to the client itself, without an address, a lease or its times. */
  function inform(exchange: Exchange): Outgoing | undefined {
    const { request, subnet, from } = exchange;
    const { clientAddress, relayAddress } = request.frame;
    const client = clientAddress === 0 && relayAddress === 0 ? (parseIpv4(from.address) ?? 0) : clientAddress;
    if (client !== 0 && !isOn(subnet.network, client)) return refuse("dhcp: an inform from another network", { from: from.address });
    if (client === 0 && relayAddress === 0) return refuse("dhcp: an inform without an address", { hardware: request.hardware });
    const facts = common(exchange, choice.choose(request, exchange.who), MESSAGE.ack);
    const to = client === 0 ? atRelay(request, from) : { address: ipv4Text(client), port: 68 };
    return { datagram: reply(request, facts), to };
  }

  function send(exchange: Exchange, type: number, address: number, commit?: LeaseChange): Outgoing {
    const { request, who, from } = exchange;
    const boot = choice.choose(request, who);
    const datagram = reply(request, common(exchange, boot, type, { address, seconds: leaseSeconds(exchange) }));
    choice.told(request, who, type, address, boot);
    const to = destination(request, exchange.subnet, from);
    return commit === undefined ? { datagram, to } : { datagram, to, commit };
  }

  function common({ request, subnet, who }: Exchange, answer: BootAnswer, type: number, lease?: ReplyFacts["lease"]): ReplyFacts {
    const { network, router, routes } = subnet;
    return {
      type,
      lease,
      server: serverId(request),
      next: options.own,
      answer,
      network: { mask: network.mask, router, routes },
      hostname: who.hostname,
      given: optionsFor(request, [options.options, subnet.options, who.reservation?.options ?? []]),
    };
  }

  function serverId({ frame, relay }: Request): number {
    return (frame.relayAddress !== 0 ? relay?.serverOverride : undefined) ?? own;
  }

  /** What RFC 2131 §4.3.2 leaves to the server that knows the network: others are silent. */
  function refuseWrong(exchange: Exchange, message: string): Outgoing | undefined {
    if (options.authoritative) return refuseLease(exchange, message);
    return refuse("dhcp: not ours to refuse", { hardware: exchange.request.hardware, message });
  }

  function refuseLease({ request, who, from }: Exchange, message: string): Outgoing {
    refusals.count("dhcp: NAK", { hardware: request.hardware, message });
    const sign = { what: "denied", client: request.kind, name: clientName(request) } as const;
    if (who.record) journal.add(who.record.machine, "dhcp", `refused its address to ${clientName(request)}: ${message}`, sign);
    const datagram = reply(request, { type: MESSAGE.nak, server: serverId(request), next: own, message });
    // RFC 2131 §4.3.2: a client that is told no may not be reachable at the address it thinks it has
    return { datagram, to: request.frame.relayAddress === 0 ? EVERYBODY : atRelay(request, from) };
  }

  function leaseSeconds({ request, who }: Exchange): number {
    const most = who.isKnown ? options.lease.machines : options.lease.others;
    return request.leaseSeconds === undefined ? most : Math.min(most, Math.max(request.leaseSeconds, SHORTEST_LEASE_S));
  }

  function refuse(reason: string, facts: Readonly<Record<string, unknown>>): undefined {
    refusals.count(reason, facts);
    return undefined;
  }

  return { answer };
}

/** One message with what was found out about it. */
interface Exchange {
  readonly request: Request;
  readonly subnet: ServedSubnet;
  readonly from: Peer;
  readonly who: Who;
}

export const EVERYBODY: Peer = { address: "255.255.255.255", port: 68 };

/** A client that has its address sends from it; what names another's was made up. */
function isForeign({ frame }: Request, from: Peer): boolean {
  if (frame.clientAddress === 0 || frame.relayAddress !== 0) return false;
  const source = parseIpv4(from.address);
  return source !== undefined && source !== 0 && source !== frame.clientAddress;
}

/**
 * RFC 2131 §4.1, but by broadcast where it asks for a unicast frame to a client that has no address yet: a datagram socket
 * cannot send one, and every client takes the broadcast.
 */
function destination(request: Request, { network }: ServedSubnet, from: Peer): Peer {
  const { relayAddress, clientAddress } = request.frame;
  if (relayAddress !== 0) return atRelay(request, from);
  // what a client says of itself sends nothing to networks that are not ours
  return clientAddress === 0 || !isOn(network, clientAddress) ? EVERYBODY : { address: ipv4Text(clientAddress), port: 68 };
}

/** RFC 2131 §4.1; RFC 8357 §5 for the port. */
export function atRelay({ frame, relay }: Request, from: Peer): Peer {
  return { address: ipv4Text(frame.relayAddress), port: relay?.toSourcePort ? from.port : 67 };
}

import { ipv4Text, isOn, MESSAGE, type Network, parseFrame } from "../wire/index.ts";
import type { AddressBook, Client } from "./addresses.ts";
import { type BootAnswer, bootAnswer, type Purpose } from "./answer.ts";
import type { BootRecord } from "./contract.ts";
import { reply } from "./dhcp-reply.ts";
import { clientName, type Request, readRequest } from "./facts.ts";
import type { Journal } from "./journal.ts";
import type { LeaseChange } from "./leases.ts";
import type { Refusals } from "./refusals.ts";

export interface DhcpServerOptions {
  readonly network: Network;
  /** Default gateway for machines, if any. */
  readonly router: number | undefined;
  readonly book: AddressBook;
  /** HTTP address of the boot plane on this network. */
  readonly http: string;
  /** Network boot programs there are. */
  readonly programs: ReadonlySet<string>;
  machineOf(hardware: string): BootRecord | undefined;
  readonly journal: Journal;
  readonly refusals: Refusals;
}

export interface Outgoing {
  readonly datagram: Uint8Array;
  readonly to: { readonly address: string; readonly port: number };
  /** The change of leases it rests on: it leaves when that is on disk. */
  readonly commit?: LeaseChange;
}

export interface DhcpServer {
  /** The answer to one datagram, or undefined where silence is the answer. Pure but for the book. */
  answer(datagram: Uint8Array, from: { readonly address: string; readonly port: number }): Outgoing | undefined;
}

/** A known machine keeps its address over a weekend without a boot plane; strangers come and go. */
const LEASE_S = { known: 3 * 86_400, stranger: 3600 };

/** RFC 2131 §4.3 for one interface: a reservation for each NIC of a known machine, a lease from the pool for everybody else. */
export function createDhcpServer(options: DhcpServerOptions): DhcpServer {
  const { network, book, journal, refusals } = options;

  function answer(datagram: Uint8Array, from: { address: string; port: number }): Outgoing | undefined {
    const frame = parseFrame(datagram);
    if (typeof frame === "string") return refuse(`dhcp: ${frame}`, { from: from.address });
    const request = readRequest(frame);
    if (typeof request === "string") return refuse(`dhcp: ${request}`, { from: from.address });
    // a relay names the network by its own address there (RFC 2131 §4.3.1); of other networks we know nothing
    if (frame.relayAddress !== 0 && !isOn(network, frame.relayAddress)) {
      return refuse("dhcp: relayed from a network not configured", { relay: ipv4Text(frame.relayAddress) });
    }
    switch (request.type) {
      case MESSAGE.discover:
        return discover(request);
      case MESSAGE.request:
        return requested(request);
      case MESSAGE.decline:
        return decline(request);
      case MESSAGE.release:
        book.release(clientOf(request), frame.clientAddress);
        return undefined;
      case MESSAGE.inform:
        return inform(request, from.address);
      default:
        return refuse("dhcp: a server's message", { from: from.address, hardware: request.hardware });
    }
  }

  function discover(request: Request): Outgoing | undefined {
    const address = book.choose(clientOf(request), request.requestedAddress);
    if (address === undefined) return refuse("dhcp: no address is free", { hardware: request.hardware });
    return send(request, MESSAGE.offer, address);
  }

  /** The four states of a REQUEST: RFC 2131 §4.3.2. */
  function requested(request: Request): Outgoing | undefined {
    const client = clientOf(request);
    const { clientAddress } = request.frame;
    if (request.server !== undefined) {
      // SELECTING: the client chose a server; another one's success is no business of ours
      if (request.server !== network.own) return undefined;
      const address = request.requestedAddress ?? clientAddress;
      if (address !== book.held(client)) return refuseLease(request, "this address was not offered");
      return lease(request, client, address);
    }
    const address = request.requestedAddress ?? clientAddress;
    if (address === 0) return refuse("dhcp: a request without an address", { hardware: request.hardware });
    if (!isOn(network, address)) return refuseLease(request, "the address is of another network");
    const held = book.held(client);
    // INIT-REBOOT, RENEWING or REBINDING
    if (held === address) return lease(request, client, address);
    if (held !== undefined || !book.isFree(address, client)) return refuseLease(request, "the address is not this client's");
    // RFC 2131 §4.3.2: of a client we have no record of we say nothing; but one that renews after we lost the record may go on
    return clientAddress === address ? lease(request, client, address) : undefined;
  }

  function lease(request: Request, client: Client, address: number): Outgoing {
    const commit = book.bind(client, address, leaseSeconds(request));
    return { ...send(request, MESSAGE.ack, address), commit };
  }

  function decline(request: Request): undefined {
    if (request.requestedAddress === undefined || (request.server !== undefined && request.server !== network.own)) return undefined;
    book.decline(clientOf(request), request.requestedAddress);
    return refuse("dhcp: declined, the address is used by somebody else", {
      address: ipv4Text(request.requestedAddress),
      hardware: request.hardware,
    });
  }

  function inform(request: Request, source: string): Outgoing {
    const address = request.frame.clientAddress === 0 ? source : ipv4Text(request.frame.clientAddress);
    const datagram = reply(request, { type: MESSAGE.ack, network, router: options.router, answer: bootFor(request) });
    return { datagram, to: { address, port: 68 } };
  }

  function send(request: Request, type: number, address: number): Outgoing {
    const record = options.machineOf(request.hardware);
    const answer = bootFor(request);
    const datagram = reply(request, {
      type,
      network,
      router: options.router,
      answer,
      lease: { address, seconds: leaseSeconds(request) },
      hostname: record?.hostname,
    });
    if (record) note(record.machine, request, type, address, answer);
    else if (type === MESSAGE.ack)
      refusals.count("boot: unknown machine", { hardware: request.hardware, client: clientName(request), address: ipv4Text(address) });
    return { datagram, to: destination(request) };
  }

  function note(machine: string, request: Request, type: number, address: number, answer: BootAnswer): void {
    const what = type === MESSAGE.offer ? "DHCP offer" : "DHCP lease";
    const boot =
      answer.boot === "nothing"
        ? request.kind === "plain"
          ? ""
          : `, nothing to boot: ${answer.because}`
        : `, ${answer.boot === "tftp" ? answer.file : answer.boot}`;
    journal.add(machine, "dhcp", `${what} of ${ipv4Text(address)} to ${clientName(request)}${boot}`);
  }

  function refuseLease(request: Request, message: string): Outgoing {
    refusals.count("dhcp: NAK", { hardware: request.hardware, message });
    const datagram = reply(request, { type: MESSAGE.nak, network, router: undefined, message });
    const { relayAddress } = request.frame;
    // RFC 2131 §4.3.2: a client that is told no may not be reachable at the address it thinks it has
    return { datagram, to: relayAddress === 0 ? EVERYBODY : { address: ipv4Text(relayAddress), port: 67 } };
  }

  function bootFor(request: Request): BootAnswer {
    return bootAnswer(request, options.http, purposeOf(options.machineOf(request.hardware)), options.programs);
  }

  function clientOf(request: Request): Client {
    const known = options.machineOf(request.hardware) !== undefined;
    // firmware, iPXE and installer of one NIC have a client identifier each; a known machine shall have one address
    const key = !known && request.clientId !== undefined ? `id:${request.clientId}` : `mac:${request.hardware}`;
    return { key, mac: request.hardware };
  }

  function leaseSeconds(request: Request): number {
    return options.machineOf(request.hardware) ? LEASE_S.known : LEASE_S.stranger;
  }

  function refuse(reason: string, facts: Readonly<Record<string, unknown>>): undefined {
    refusals.count(reason, facts);
    return undefined;
  }

  return { answer };
}

const EVERYBODY = { address: "255.255.255.255", port: 68 } as const;

/**
 * RFC 2131 §4.1, but by broadcast where it asks for a unicast frame to a client that has no address yet: a datagram socket
 * cannot send one, and every client takes the broadcast.
 */
function destination(request: Request): { address: string; port: number } {
  const { relayAddress, clientAddress } = request.frame;
  if (relayAddress !== 0) return { address: ipv4Text(relayAddress), port: 67 };
  return clientAddress === 0 ? EVERYBODY : { address: ipv4Text(clientAddress), port: 68 };
}

function purposeOf(record: BootRecord | undefined): Purpose {
  if (!record) return { nonce: null, because: "unknown" };
  return record.intent.boot === "installer" ? { nonce: record.intent.nonce } : { nonce: null, because: "disk" };
}

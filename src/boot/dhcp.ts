import type { Clock } from "../core/clock.ts";
import { ipv4Text } from "../wire/index.ts";
import { type AddressBook, createAddressBook } from "./addresses.ts";
import { createBootChoice } from "./boot-choice.ts";
import type { Machines, ServedSubnet } from "./client.ts";
import type { ConflictProbe } from "./conflict-probe.ts";
import type { BootInterface } from "./contract.ts";
import { givenOptions } from "./dhcp-options.ts";
import { createDhcpServer, type DhcpServer } from "./dhcp-server.ts";
import type { Journal } from "./journal.ts";
import type { Lease, LeaseStore } from "./leases.ts";
import type { LoopGuard } from "./loop-guard.ts";
import { createProxyDhcp } from "./proxy-dhcp.ts";
import type { Refusals } from "./refusals.ts";
import { createReservations } from "./reservations.ts";
import { createSightings } from "./sightings.ts";
import { type Subnet, subnetsOf } from "./subnets.ts";

export interface DhcpOptions {
  readonly at: BootInterface;
  /** HTTP address of the boot plane on this network. */
  readonly http: string;
  /** The same for UEFI HTTP Boot. */
  readonly httpBoot: string;
  readonly programs: ReadonlySet<string>;
  /** Why a shim would not run the installer's kernel. */
  readonly unsigned?: string | undefined;
  readonly machines: Machines;
  /** NICs of known machines that have no address yet, of all interfaces. */
  owed(): number;
  /** A known machine boots from here. */
  onBooting(hardware: string): void;
  readonly guard: LoopGuard;
  readonly probe?: ConflictProbe | undefined;
  readonly leases: LeaseStore;
  readonly journal: Journal;
  readonly refusals: Refusals;
  readonly clock: Clock;
}

/** Who has which address on one interface, of all its networks. */
export interface Addresses extends Pick<AddressBook, "macAt" | "addressOf"> {
  leases(): Iterable<Lease>;
}

export interface Dhcp {
  /** The daemon's own address on the interface. */
  readonly own: string;
  /** For port 67. */
  readonly server: DhcpServer;
  /** For port 4011; only a ProxyDHCP server has it. */
  readonly boots: DhcpServer | undefined;
  readonly addresses: Addresses;
  readonly books: readonly AddressBook[];
}

/** Known by default to last over a weekend without a boot plane; strangers come and go. Seconds. */
const LEASE = { machines: 3 * 86_400, others: 3600 };

/** Beside another DHCP server, who is not ours is not spoken to unless that is asked for. */
const UNKNOWN = { reservation: "tell", "auto-proxy": "boot", proxy: "leave", off: "leave" } as const;

/** The DHCP or ProxyDHCP server of one interface, by its mode. */
export function createDhcp(options: DhcpOptions): Dhcp {
  const { at } = options;
  const subnets = subnetsOf(at);
  const network = subnets[0]?.network ?? { own: 0, mask: 0 };
  const choice = createBootChoice({ ...options, secureBoot: at.secureBoot ?? "off", unknown: UNKNOWN[at.mode] });
  const identity = {
    machines: options.machines,
    snooping: at.snooping ?? false,
    everywhere: createReservations((at.reservations ?? []).filter(({ address }) => address === undefined)),
  };
  const own = ipv4Text(network.own);
  if (at.mode === "proxy" || at.mode === "auto-proxy") {
    const sightings = createSightings();
    const proxy = createProxyDhcp({ ...identity, network, subnets, choice, sightings, refusals: options.refusals });
    return { own, server: proxy.offers, boots: proxy.boots, addresses: { ...sightings, leases: () => [] }, books: [] };
  }
  const served = subnets.map((one) => withBook(one, options));
  const books = served.map(({ book }) => book);
  const server = createDhcpServer({
    ...identity,
    own: network.own,
    subnets: served,
    choice,
    options: givenOptions(at.options),
    lease: at.lease ?? LEASE,
    authoritative: at.authoritative ?? true,
    owed: options.owed,
    probe: at.conflictProbe ? options.probe : undefined,
    journal: options.journal,
    refusals: options.refusals,
  });
  return { own, server, boots: undefined, addresses: together(books), books };
}

function withBook(subnet: Subnet, { leases, clock, machines }: DhcpOptions): ServedSubnet {
  const { network, pools, fixed, router } = subnet;
  const excluded = [network.own, ...(router === undefined ? [] : [router])];
  const isReserved = (mac: string) => machines.byHardware(mac) !== undefined;
  return { ...subnet, book: createAddressBook({ network, pools, fixed, excluded, store: leases, clock, isReserved }) };
}

function together(books: readonly AddressBook[]): Addresses {
  return {
    macAt: (address) => first(books, (book) => book.macAt(address)),
    addressOf: (mac) => first(books, (book) => book.addressOf(mac)),
    *leases() {
      for (const book of books) yield* book.leases();
    },
  };
}

function first<T>(books: readonly AddressBook[], ask: (book: AddressBook) => T | undefined): T | undefined {
  for (const book of books) {
    const found = ask(book);
    if (found !== undefined) return found;
  }
  return undefined;
}

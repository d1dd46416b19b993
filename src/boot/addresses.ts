import type { Clock } from "../core/clock.ts";
import type { BootStore, Lease } from "./store.ts";

/** Who asks for an address. */
export interface Client {
  /** `mac:…` for known machines whatever their client identifier, else `id:…` where option 61 is sent. */
  readonly key: string;
  readonly mac: string;
}

/** The addresses of one interface: who holds which, and until when. */
export interface AddressBook {
  /** The address this client holds or is to hold; undefined when the pool is used up. Keeps it free for a minute. */
  choose(client: Client, wanted: number | undefined): number | undefined;
  /** What the client holds already, expired or not; also what was just offered to it. */
  held(client: Client): number | undefined;
  /** Whether nobody else holds or was offered the address. */
  isFree(address: number, client: Client): boolean;
  /** On disk before it returns. */
  bind(client: Client, address: number, seconds: number): void;
  release(client: Client, address: number): void;
  /** Somebody else uses the address: nobody gets it for a while. */
  decline(client: Client, address: number): void;
  /** The NIC that has the address, for naming who fetches what. */
  macAt(address: number): string | undefined;
  addressOf(mac: string): number | undefined;
}

export interface AddressBookOptions {
  readonly interface: string;
  readonly pool: { readonly from: number; readonly to: number };
  /** The daemon's own address. */
  readonly own: number;
  readonly store: BootStore;
  readonly clock: Clock;
  /** A known machine keeps its address, used or not. */
  isReserved(mac: string): boolean;
}

const OFFER_MS = 60_000;
const DECLINED_MS = 600_000;

export function createAddressBook(options: AddressBookOptions): AddressBook {
  const { pool, own, store, clock, isReserved } = options;
  const byAddress = new Map<number, Lease>();
  const byClient = new Map<string, Lease>();
  const byMac = new Map<string, Lease>();
  const offers = new Map<number, { readonly client: string; readonly until: number }>();
  const declined = new Map<number, number>();
  for (const lease of store.leases(options.interface)) index(lease);

  const now = () => clock.now().getTime();
  const inPool = (address: number) => address >= pool.from && address <= pool.to && address !== own;

  function index(lease: Lease): void {
    byAddress.set(lease.address, lease);
    byClient.set(lease.client, lease);
    byMac.set(lease.mac, lease);
  }

  function drop(lease: Lease): void {
    store.dropLease(lease.interface, lease.address);
    unindex(lease);
  }

  function unindex(lease: Lease): void {
    byAddress.delete(lease.address);
    if (byClient.get(lease.client) === lease) byClient.delete(lease.client);
    if (byMac.get(lease.mac) === lease) byMac.delete(lease.mac);
  }

  /** A machine that became known keeps the address its NIC had as a stranger. */
  function leaseOf(client: Client): Lease | undefined {
    const lease = byClient.get(client.key) ?? (client.key.startsWith("mac:") ? byMac.get(client.mac) : undefined);
    return lease && inPool(lease.address) && !isDeclined(lease.address) ? lease : undefined;
  }

  function isDeclined(address: number): boolean {
    return (declined.get(address) ?? 0) > now();
  }

  function offeredTo(client: Client): number | undefined {
    for (const [address, offer] of offers) if (offer.client === client.key && offer.until > now()) return address;
    return undefined;
  }

  function isFree(address: number, client: Client): boolean {
    if (!inPool(address) || isDeclined(address)) return false;
    const offer = offers.get(address);
    if (offer && offer.client !== client.key && offer.until > now()) return false;
    const lease = byAddress.get(address);
    return !lease || leaseOf(client) === lease || (lease.expires <= now() && !isReserved(lease.mac));
  }

  /** Starts at a place of the client's own, so that a client tends to get the same address even after its lease was lost. */
  function search(client: Client): number | undefined {
    const size = pool.to - pool.from + 1;
    const start = spread(client.key) % size;
    let expired: Lease | undefined;
    for (let step = 0; step < size; step++) {
      const address = pool.from + ((start + step) % size);
      if (!isFree(address, client)) continue;
      const lease = byAddress.get(address);
      if (!lease) return address;
      if (!expired || lease.expires < expired.expires) expired = lease;
    }
    return expired?.address;
  }

  return {
    choose(client, wanted) {
      const address =
        leaseOf(client)?.address ?? offeredTo(client) ?? (wanted !== undefined && isFree(wanted, client) ? wanted : search(client));
      if (address === undefined) return undefined;
      for (const [other, offer] of offers) if (offer.until <= now() || offer.client === client.key) offers.delete(other);
      offers.set(address, { client: client.key, until: now() + OFFER_MS });
      return address;
    },
    held: (client) => leaseOf(client)?.address ?? offeredTo(client),
    isFree,
    bind(client, address, seconds) {
      const lease = { interface: options.interface, address, client: client.key, mac: client.mac, expires: now() + seconds * 1000 };
      const before = byAddress.get(address);
      const elsewhere = leaseOf(client);
      store.putLease(lease);
      if (before) unindex(before);
      if (elsewhere && elsewhere.address !== address) drop(elsewhere);
      index(lease);
      offers.delete(address);
    },
    release(client, address) {
      const lease = byAddress.get(address);
      if (!lease || lease !== leaseOf(client)) return;
      if (!isReserved(lease.mac)) drop(lease);
    },
    decline(client, address) {
      if (leaseOf(client)?.address !== address && offeredTo(client) !== address) return;
      const lease = byAddress.get(address);
      if (lease) drop(lease);
      offers.delete(address);
      declined.set(address, now() + DECLINED_MS);
      for (const [other, until] of declined) if (until <= now()) declined.delete(other);
    },
    macAt: (address) => byAddress.get(address)?.mac,
    addressOf: (mac) => byMac.get(mac)?.address,
  };
}

/** FNV-1a. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

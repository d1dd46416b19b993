import type { Clock } from "../core/clock.ts";
import { isOn, type Network } from "../wire/index.ts";
import { createCalendar } from "./calendar.ts";
import { createFreeSet } from "./free-set.ts";
import type { Lease, LeaseChange, LeaseStore } from "./leases.ts";

/** Who asks for an address. */
export interface Client {
  /** `mac:…` for known machines whatever their client identifier, else `id:…` where option 61 is sent. */
  readonly key: string;
  readonly mac: string;
  /** The address a reservation gives it; one of {@link AddressBookOptions.fixed}. */
  readonly fixed?: number | undefined;
  /** Free addresses it must leave to others when it has none yet. */
  readonly leave?: number | undefined;
  /** The name of the pools it takes addresses from; without one, those without a name. */
  readonly pool?: string | undefined;
}

export interface Pool {
  readonly from: number;
  readonly to: number;
  /** Only clients that name it get its addresses: BMCs, say. */
  readonly name?: string | undefined;
}

/**
 * The addresses of one subnet: who holds which, and until when. Each call takes the same time whether ten leases are known or
 * 100,000, and memory grows with the leases; a pool's own is a bit for each of its addresses.
 */
export interface AddressBook {
  /** The address this client holds or is to hold; undefined when nothing is free. Kept free for it for a minute. */
  choose(client: Client, wanted: number | undefined): number | undefined;
  /** What the client may have at once: its reservation, its lease, expired or not, or what was just offered to it. */
  held(client: Client): number | undefined;
  /** Whether the address was leased to this client, however long ago, and to nobody since. */
  had(address: number, client: Client): boolean;
  /** Whether the client may have the address: nobody else holds it, was offered it, or has a reservation of it. */
  isFree(address: number, client: Client): boolean;
  /** In memory when it returns; the reply that promises it leaves when the change is synced. */
  bind(client: Client, address: number, seconds: number): LeaseChange;
  release(client: Client, address: number): void;
  /** Somebody else uses the address: nobody gets it for a while. False when it was not this client's to decline. */
  decline(client: Client, address: number): boolean;
  /** The NIC that has the address, for naming who fetches what. */
  macAt(address: number): string | undefined;
  addressOf(mac: string): number | undefined;
  leases(): Iterable<Lease>;
  /** How full it is. */
  readonly size: { readonly leases: number; readonly offers: number; readonly free: number };
}

export interface AddressBookOptions {
  /** The subnet, with the daemon's own address, which nobody gets. */
  readonly network: Network;
  readonly pools: readonly Pool[];
  /** Addresses that reservations name: nobody else gets them. On the subnet, in a pool or not. */
  readonly fixed?: Iterable<number>;
  /** Others that nobody gets: routers, say. */
  readonly excluded?: Iterable<number>;
  readonly store: LeaseStore;
  readonly clock: Clock;
  /** A known machine keeps its address, used or not. */
  isReserved(mac: string): boolean;
}

const OFFER_MS = 60_000;
/** Boot firmware collects offers for some seconds before it takes one; after that an offer yields to who has none. */
const OFFER_AT_LEAST_MS = 10_000;
/** Offers are promises to whoever asks: a flood of strangers must not take memory without end. */
const MOST_OFFERS = 65_536;
/** How many offers one question may look at. */
const MOST_LOOKS = 64;
const DECLINED_MS = 600_000;
const DECLINED = "declined";

interface Offer {
  readonly client: string;
  readonly address: number;
  readonly until: number;
}

export function createAddressBook(options: AddressBookOptions): AddressBook {
  const { network, store, clock, isReserved } = options;
  const { leases } = store;
  const fixed = new Set(options.fixed);
  const excluded = new Set([network.own, ...(options.excluded ?? [])]);
  const pools = options.pools.map((pool) => ({ ...pool, free: createFreeSet(pool.from, pool.to), expiries: createCalendar() }));
  const byClient = new Map<string, Lease>();
  /** Of clients that are not `mac:` and their MAC. */
  const byMac = new Map<string, Lease>();
  const offers = new Map<number, Offer>();
  const offerOf = new Map<string, Offer>();
  /** Oldest first, as all last equally long; some withdrawn meanwhile. A map's own order would step over all that it ever held. */
  let queue: Offer[] = [];
  let oldest = 0;
  let count = 0;
  const now = () => clock.now().getTime();
  for (const address of [...excluded, ...fixed]) for (const pool of pools) pool.free.take(address);
  for (const lease of leases.values()) if (isOn(network, lease.address)) index(lease);

  function poolOf(address: number) {
    for (const pool of pools) if (address >= pool.from && address <= pool.to) return pool;
    return undefined;
  }

  function index(lease: Lease): void {
    count += 1;
    settle(lease.address);
    if (lease.client === DECLINED) return;
    byClient.set(lease.client, lease);
    if (!lease.client.startsWith("mac:")) byMac.set(lease.mac, lease);
  }

  function unindex(lease: Lease): void {
    count -= 1;
    if (byClient.get(lease.client) === lease) byClient.delete(lease.client);
    if (byMac.get(lease.mac) === lease) byMac.delete(lease.mac);
    settle(lease.address);
  }

  /** Where an address stands in its pool: free, to be free at a time, or neither. */
  function settle(address: number): void {
    const pool = poolOf(address);
    if (!pool || fixed.has(address) || excluded.has(address)) return;
    const isOffered = offers.has(address);
    const lease = isOffered ? undefined : leases.get(address);
    if (lease) pool.expiries.set(address, lease.expires);
    else pool.expiries.delete(address);
    if (lease || isOffered) pool.free.take(address);
    else pool.free.giveBack(address);
  }

  function drop(lease: Lease): LeaseChange {
    const change = store.drop(lease.address);
    unindex(lease);
    return change;
  }

  /** The lease takes the place of what the address was before, an offer included. */
  function put(lease: Lease): LeaseChange {
    const before = leases.get(lease.address);
    const offer = offers.get(lease.address);
    if (offer) strike(offer);
    const change = store.put(lease);
    if (before) unindex(before);
    index(lease);
    return change;
  }

  function strike(offer: Offer): void {
    offers.delete(offer.address);
    offerOf.delete(offer.client);
  }

  function withdraw(offer: Offer): void {
    strike(offer);
    settle(offer.address);
  }

  function makeOffer(client: Client, address: number, at: number): void {
    const before = offerOf.get(client.key);
    // the same again takes the old one's place: keys deleted and set over and over make a Map slow (its chains keep the deleted)
    if (before && before.address !== address) withdraw(before);
    const offer = { client: client.key, address, until: at + OFFER_MS };
    offers.set(address, offer);
    offerOf.set(client.key, offer);
    settle(address);
    queue.push(offer);
    if (queue.length < 2 * MOST_OFFERS) return;
    queue = queue.filter(isStanding);
    oldest = 0;
  }

  function isStanding(offer: Offer): boolean {
    return offers.get(offer.address) === offer;
  }

  /** Those whose time is over, and the oldest where there is no room for one more. */
  function forgetOffers(at: number): void {
    for (let offer = queue[oldest]; offer; offer = queue[++oldest]) {
      if (offer.until > at && isStanding(offer) && offers.size < MOST_OFFERS) break;
      if (isStanding(offer)) withdraw(offer);
    }
    if (oldest < 1024 || oldest < queue.length / 2) return;
    queue = queue.slice(oldest);
    oldest = 0;
  }

  function isHis(lease: Lease, client: Client): boolean {
    // a machine that became known keeps the address its NIC had as a stranger
    return lease.client === client.key || (lease.client !== DECLINED && client.key.startsWith("mac:") && lease.mac === client.mac);
  }

  /** Whether a lease that is there keeps this client from the address. */
  function isTaken(address: number, client: Client): boolean {
    const lease = leases.get(address);
    return lease !== undefined && !isHis(lease, client) && (lease.expires > now() || isReserved(lease.mac));
  }

  /** Whether the rules let this client have the address, whoever holds it. */
  function isFor(address: number, client: Client): boolean {
    if (excluded.has(address)) return false;
    if (fixed.has(address)) return client.fixed === address;
    const pool = poolOf(address);
    return pool !== undefined && pool.name === client.pool;
  }

  function reservationOf(client: Client): number | undefined {
    const { fixed: address } = client;
    return address !== undefined && isFor(address, client) && !isTaken(address, client) ? address : undefined;
  }

  function leaseOf(client: Client): Lease | undefined {
    const lease = byClient.get(client.key) ?? (client.key.startsWith("mac:") ? byMac.get(client.mac) : undefined);
    return lease && isFor(lease.address, client) ? lease : undefined;
  }

  function offeredTo(client: Client): number | undefined {
    const offer = offerOf.get(client.key);
    return offer && offer.until > now() && isFor(offer.address, client) ? offer.address : undefined;
  }

  function held(client: Client): number | undefined {
    return reservationOf(client) ?? leaseOf(client)?.address ?? offeredTo(client);
  }

  function isFree(address: number, client: Client): boolean {
    if (!isFor(address, client)) return false;
    const offer = offers.get(address);
    if (offer && offer.client !== client.key && offer.until > now()) return false;
    return !isTaken(address, client);
  }

  /** Never used first, then what expired longest ago, then what was offered to somebody who did not come for it. */
  function search(client: Client): number | undefined {
    // a place of the client's own, so that it tends to get the same address even after its lease was lost
    const seed = spread(client.key);
    const own = pools.filter((pool) => pool.name === client.pool);
    for (let step = 0; step < own.length && mayTakeNew(client); step++) {
      const address = own[(seed + step) % own.length]?.free.any(seed);
      if (address !== undefined) return address;
    }
    for (const pool of own) {
      const address = pool.expiries.expired(now(), (one) => isFree(one, client));
      if (address !== undefined) return address;
    }
    return client.leave === undefined ? unclaimed(client) : undefined;
  }

  /** Whether enough addresses that nobody had yet are left for those they are kept for. */
  function mayTakeNew({ leave, pool: name }: Client): boolean {
    if (leave === undefined) return true;
    let left = -leave;
    for (const pool of pools) if (pool.name === name) left += pool.free.count;
    return left > 0;
  }

  function mayHave(address: number, client: Client): boolean {
    return isFree(address, client) && (leases.has(address) || mayTakeNew(client));
  }

  function unclaimed(client: Client): number | undefined {
    const before = now() + OFFER_MS - OFFER_AT_LEAST_MS;
    const few = queue.slice(oldest, oldest + MOST_LOOKS);
    const offer = few.find((one) => one.until <= before && isStanding(one) && isFor(one.address, client) && !isTaken(one.address, client));
    if (offer) withdraw(offer);
    return offer?.address;
  }

  return {
    choose(client, wanted) {
      const at = now();
      forgetOffers(at);
      const address = held(client) ?? (wanted !== undefined && mayHave(wanted, client) ? wanted : search(client));
      if (address === undefined) return undefined;
      makeOffer(client, address, at);
      return address;
    },
    held,
    had(address, client) {
      const lease = leases.get(address);
      return lease !== undefined && isHis(lease, client);
    },
    isFree,
    bind(client, address, seconds) {
      const elsewhere = byClient.get(client.key) ?? leaseOf(client);
      let change = put({ address, client: client.key, mac: client.mac, expires: now() + seconds * 1000 });
      // after the new promise: cut in between, the client has two addresses and nobody else has either
      if (elsewhere && elsewhere.address !== address) change = drop(elsewhere);
      return change;
    },
    release(client, address) {
      const lease = leases.get(address);
      if (lease && isHis(lease, client) && !isReserved(lease.mac)) drop(lease);
    },
    decline(client, address) {
      const lease = leases.get(address);
      if (!(lease && isHis(lease, client)) && offeredTo(client) !== address) return false;
      put({ address, client: DECLINED, mac: client.mac, expires: now() + DECLINED_MS });
      return true;
    },
    macAt(address) {
      const lease = leases.get(address);
      return lease && lease.client !== DECLINED ? lease.mac : undefined;
    },
    addressOf: (mac) => (byClient.get(`mac:${mac}`) ?? byMac.get(mac))?.address,
    *leases() {
      for (const lease of leases.values()) if (isOn(network, lease.address)) yield lease;
    },
    get size() {
      return { leases: count, offers: offers.size, free: pools.reduce((sum, pool) => sum + pool.free.count, 0) };
    },
  };
}

/** FNV-1a. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

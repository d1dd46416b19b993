/** An address promised to a client. */
export interface Lease {
  readonly address: number;
  /** Who holds it: `mac:…` or `id:…` (option 61). */
  readonly client: string;
  readonly mac: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

/**
 * The number of a change, in the order in which changes become durable. A reply that rests on one leaves when
 * {@link LeaseStore.synced} has reached it.
 */
export type LeaseChange = number;

/** Every lease there is, by address: subnets do not overlap, so an address says which one it is of. */
export interface LeaseStore {
  /** As they are now, changes under way included. */
  readonly leases: ReadonlyMap<number, Lease>;
  /** In {@link leases} at once; on disk when {@link synced} has reached the number. */
  put(lease: Lease): LeaseChange;
  drop(address: number): LeaseChange;
  /** The last change that is on disk and survives the loss of power. */
  readonly synced: LeaseChange;
  /** Called after each group of changes: those up to `synced` are on disk. With an error, what came after it is tried again. @returns ends that */
  onSync(listener: (error: Error | undefined) => void): () => void;
  /** Resolves when all changes so far are on disk. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** A store that forgets: for tests of what stands on it. */
export function createMemoryLeases(): LeaseStore {
  const leases = new Map<number, Lease>();
  let last = 0;
  return {
    leases,
    put(lease) {
      leases.set(lease.address, lease);
      last += 1;
      return last;
    },
    drop(address) {
      leases.delete(address);
      last += 1;
      return last;
    },
    get synced() {
      return last;
    },
    onSync: () => () => {},
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

/** How long a VirtualCluster has by its ttl. Moments are milliseconds. */
export interface Lifetime {
  readonly expiresAt: number;
  /** From then on its people are warned. */
  readonly warnAt: number;
  readonly now: "fresh" | "warned" | "expired";
  /** When this says something else; absent when it has expired. */
  readonly lookAgainAt?: number;
}

const WARNING_MS = 3_600_000;

/** Pure: the end is counted from the birth, so that a longer ttl lengthens a life and a shorter one may end it at once. */
export function lifetime(born: number, ttlMs: number, now: number): Lifetime {
  const expiresAt = born + ttlMs;
  const warnAt = expiresAt - Math.min(WARNING_MS, ttlMs / 4);
  if (now >= expiresAt) return { expiresAt, warnAt, now: "expired" };
  if (now >= warnAt) return { expiresAt, warnAt, now: "warned", lookAgainAt: expiresAt };
  return { expiresAt, warnAt, now: "fresh", lookAgainAt: warnAt };
}

import type { Clock } from "../core/clock.ts";
import type { BootRecord } from "./contract.ts";

export interface OwedOptions {
  readonly clock: Clock;
  machines(): readonly BootRecord[];
  addressOf(mac: string): number | undefined;
}

/** A rack that is declared and not yet switched on needs counting only now and then. */
const COUNT_EVERY_MS = 1000;
/** Machines looked at for one answer, however many there are. */
const LOOKS = 512;

/**
 * How many known machines have no address yet: so many of a pool are kept for them, or strangers that came first would have used it
 * up. Counted anew a part at a time, but the first time at once.
 */
export function createOwed({ clock, machines, addressOf }: OwedOptions): () => number {
  let owed: number | undefined;
  let countedAt = Number.NEGATIVE_INFINITY;
  let uncounted: readonly BootRecord[] = [];
  let next = 0;
  let found = 0;
  return () => {
    if (next === uncounted.length) {
      const now = clock.now().getTime();
      if (now - countedAt < COUNT_EVERY_MS) return owed ?? 0;
      countedAt = now;
      uncounted = machines();
      next = 0;
      found = 0;
    }
    const part = uncounted.slice(next, owed === undefined ? undefined : next + LOOKS);
    // a server boots from one of its NICs; who has an address by any of them needs none
    for (const { macs } of part) if (!macs.some((mac) => addressOf(mac) !== undefined)) found += 1;
    next += part.length;
    // none are known before the daemon has told of them: the first whole count is still to come
    if (next === uncounted.length && next > 0) owed = found;
    return owed ?? 0;
  };
}

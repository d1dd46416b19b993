import type { Clock } from "../core/clock.ts";
import type { BootRecord } from "./contract.ts";

export interface OwedOptions {
  readonly clock: Clock;
  machines(): readonly BootRecord[];
  addressOf(mac: string): number | undefined;
}

/** A rack that is declared and not yet switched on needs counting only now and then. */
const COUNT_EVERY_MS = 1000;

/**
 * How many NICs of known machines have no address yet: so many of a pool are kept for them, or strangers that came first would have
 * used it up.
 */
export function createOwed({ clock, machines, addressOf }: OwedOptions): () => number {
  let counted = 0;
  let countedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = clock.now().getTime();
    if (now - countedAt < COUNT_EVERY_MS) return counted;
    countedAt = now;
    counted = 0;
    // a server boots from one of its NICs; who has an address by any of them needs none
    for (const { macs } of machines()) if (!macs.some((mac) => addressOf(mac) !== undefined)) counted += 1;
    return counted;
  };
}

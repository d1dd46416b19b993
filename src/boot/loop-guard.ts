import type { Clock } from "../core/clock.ts";

/**
 * Remembers per NIC what it was given to boot, to notice one that boots the same thing again and again: a boot program that loads
 * itself because it does not say who it is, or a server that fails early and starts over.
 */
export interface LoopGuard {
  /** Whether the NIC may be given this now. A new attempt starts from nothing. */
  allows(hardware: string, attempt: string): boolean;
  /** It was given it. @param transaction the DHCP exchange's number: one that is resent counts once */
  given(hardware: string, attempt: string, transaction: number): void;
}

interface Memory {
  readonly attempt: string;
  readonly times: number[];
  transaction: number;
}

/** A server's firmware takes a minute and more to come round again; this many in this time is a loop. */
const MOST = 6;
const WITHIN_MS = 300_000;
/** Boot programs and scripts of so many NICs are remembered; the longest unheard of is forgotten. */
const REMEMBERED = 20_000;

export function createLoopGuard(clock: Clock): LoopGuard {
  const memories = new Map<string, Memory>();
  const now = () => clock.now().getTime();

  function recent(memory: Memory): number {
    const since = now() - WITHIN_MS;
    while ((memory.times[0] ?? Number.POSITIVE_INFINITY) <= since) memory.times.shift();
    return memory.times.length;
  }

  return {
    allows(hardware, attempt) {
      const memory = memories.get(hardware);
      return memory === undefined || memory.attempt !== attempt || recent(memory) < MOST;
    },
    given(hardware, attempt, transaction) {
      const before = memories.get(hardware);
      const memory = before?.attempt === attempt ? before : { attempt, times: [], transaction: -1 };
      memories.delete(hardware);
      memories.set(hardware, memory);
      if (memory.transaction === transaction) return;
      memory.transaction = transaction;
      memory.times.push(now());
      recent(memory);
      for (const oldest of memories.size > REMEMBERED ? memories.keys() : []) {
        memories.delete(oldest);
        break;
      }
    },
  };
}

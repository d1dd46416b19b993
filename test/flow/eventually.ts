import { systemClock } from "../../src/core/clock.ts";

/** Looks until it holds; says what did not when it never does. */
export async function eventually<T>(what: string, look: () => T | Promise<T>, deadlineMs = 60_000, everyMs = 50): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > end) throw new Error(`${what}: not within ${deadlineMs / 1000} s`, { cause: error });
      await systemClock.sleep(everyMs);
    }
  }
}

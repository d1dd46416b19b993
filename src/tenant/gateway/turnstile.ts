import type { Limits } from "./route.ts";

/** Why somebody does not get in. */
export type Crowded = "too many connections" | "too many new connections";

/** Counts who is in, and how fast they come: a token bucket. */
export interface Turnstile {
  /** Undefined: entered, to be left once. */
  enter(): Crowded | undefined;
  leave(): void;
  readonly inside: number;
  /** How many may be. */
  most(): number;
}

/** @param now milliseconds of any clock that does not go back */
export function turnstile(limits: () => Limits, now: () => number): Turnstile {
  let inside = 0;
  let tokens = Number.POSITIVE_INFINITY;
  let filledAt = now();
  return {
    enter() {
      const { connections, perSecond, burst } = limits();
      const at = now();
      tokens = Math.min(burst, tokens + ((at - filledAt) / 1000) * perSecond);
      filledAt = at;
      if (inside >= connections) return "too many connections";
      if (tokens < 1) return "too many new connections";
      tokens -= 1;
      inside += 1;
      return undefined;
    },
    leave() {
      inside -= 1;
    },
    most: () => limits().connections,
    get inside() {
      return inside;
    },
  };
}

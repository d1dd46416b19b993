import ipaddr from "ipaddr.js";
import type { NodeLimits } from "./route.ts";
import { type Crowded, type Turnstile, turnstile } from "./turnstile.ts";

/** Counts by where somebody comes from: nodes have a share each that nobody else can take, and all others share one. */
export interface AddressTurnstile {
  /** A function: entered, to be called once for leaving. */
  enter(address: string): Crowded | `${Crowded} of one address` | (() => void);
}

/** Addresses nobody is in from any more, and whose pace is remembered. */
const MOST_IDLE = 1024;

/** @param now milliseconds of any clock that does not go back */
export function addressTurnstile(
  limits: () => NodeLimits,
  isNode: (address: string) => boolean,
  now: () => number,
  mostIdle = MOST_IDLE,
): AddressTurnstile {
  const others = turnstile(limits, now);
  /** Who came last is at the end. */
  const each = new Map<string, Turnstile>();

  function of(address: string): Turnstile {
    const one = each.get(address) ?? turnstile(() => (isNode(address) ? limits().perNode : limits().perAddress), now);
    each.delete(address);
    const idle = each.size < mostIdle ? [] : [...each].filter(([, { inside }]) => inside === 0);
    for (const [oldest] of idle.slice(0, Math.max(0, idle.length - mostIdle + 1))) each.delete(oldest);
    each.set(address, one);
    return one;
  }

  return {
    enter(from) {
      const address = ipaddr.process(from).toString();
      const one = of(address);
      const crowded = one.enter();
      if (crowded) return `${crowded} of one address`;
      if (isNode(address)) return () => one.leave();
      const full = others.enter();
      if (full) {
        one.leave();
        return full;
      }
      return () => {
        one.leave();
        others.leave();
      };
    },
  };
}

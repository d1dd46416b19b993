import type { Clock } from "../core/clock.ts";
import type { Logger, Metrics } from "../observe/index.ts";

/** Counts what is refused by reason; logs each reason at a bounded rate, whatever the network sends. */
export interface Refusals {
  count(reason: string, facts: Readonly<Record<string, unknown>>): void;
  all(): Readonly<Record<string, number>>;
}

const LOG_EVERY_MS = 10_000;

export function createRefusals(log: Logger, clock: Clock, metrics?: Metrics): Refusals {
  const reasons = new Map<string, { total: number; unsaid: number; saidAt: number }>();
  return {
    count(reason, facts) {
      metrics?.refused.inc({ reason });
      const now = clock.now().getTime();
      const entry = reasons.get(reason) ?? { total: 0, unsaid: 0, saidAt: Number.NEGATIVE_INFINITY };
      reasons.set(reason, entry);
      entry.total += 1;
      entry.unsaid += 1;
      if (now - entry.saidAt < LOG_EVERY_MS) return;
      log.info({ reason, times: entry.unsaid, ...facts }, "refused");
      entry.unsaid = 0;
      entry.saidAt = now;
    },
    all: () => Object.fromEntries([...reasons].map(([reason, { total }]) => [reason, total])),
  };
}

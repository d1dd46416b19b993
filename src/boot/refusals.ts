import type { Clock } from "../core/clock.ts";
import type { Logger, Metrics } from "../observe/index.ts";
import type { RefusalView } from "./contract.ts";

/** Counts what is refused by reason; logs each reason at a bounded rate, whatever the network sends. */
export interface Refusals {
  count(reason: string, facts: Readonly<Record<string, unknown>>): void;
  all(): Readonly<Record<string, number>>;
  /** With when and what the last of each was. */
  list(): readonly RefusalView[];
}

interface Reason {
  total: number;
  /** Of the total, what the metric has. */
  metered: number;
  unsaid: number;
  saidAt: number;
  lastAt: number;
  last: Readonly<Record<string, unknown>>;
}

const LOG_EVERY_MS = 10_000;

export function createRefusals(log: Logger, clock: Clock, metrics?: Metrics): Refusals {
  const reasons = new Map<string, Reason>();
  metrics?.onScrape(() => {
    for (const [reason, entry] of reasons) {
      metrics.refused.inc({ reason }, entry.total - entry.metered);
      entry.metered = entry.total;
    }
  });
  return {
    count(reason, facts) {
      const now = clock.now().getTime();
      const entry = reasons.get(reason) ?? { total: 0, metered: 0, unsaid: 0, saidAt: Number.NEGATIVE_INFINITY, lastAt: now, last: facts };
      reasons.set(reason, entry);
      entry.total += 1;
      entry.unsaid += 1;
      entry.lastAt = now;
      entry.last = facts;
      if (now - entry.saidAt < LOG_EVERY_MS) return;
      log.info({ reason, times: entry.unsaid, ...facts }, "refused");
      entry.unsaid = 0;
      entry.saidAt = now;
    },
    all: () => Object.fromEntries([...reasons].map(([reason, { total }]) => [reason, total])),
    list: () =>
      [...reasons].map(([reason, { total, lastAt, last }]) => ({ reason, count: total, lastAt: new Date(lastAt).toISOString(), last })),
  };
}

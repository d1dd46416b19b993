/** How long a shard keeps what was overwritten: in windows, of which the last two are kept. */
export interface HistoryPace {
  /** A window is so long at least. */
  readonly windowMs: number;
  /** With fewer writes and bytes it goes on: keeping them costs little, and who sleeps meanwhile goes on watching where he was. */
  readonly windowWrites: number;
  readonly windowBytes: number;
  /** But no longer than that: etcd's own compaction comes then. */
  readonly longestWindowMs: number;
  /** So much written ends a window early. */
  readonly historyBytes: number;
}

export const HISTORY_PACE: HistoryPace = {
  windowMs: 5 * 60_000,
  windowWrites: 5_000,
  windowBytes: 16 * 2 ** 20,
  longestWindowMs: 60 * 60_000,
  historyBytes: 512 * 2 ** 20,
};

/** @param writes revisions of the whole shard, and bytes, since the window began */
export function windowIsOver(window: { ageMs: number; writes: number; bytes: number }, pace: HistoryPace): boolean {
  const { ageMs, writes, bytes } = window;
  if (ageMs < pace.windowMs) return false;
  return writes >= pace.windowWrites || bytes >= pace.windowBytes || ageMs >= pace.longestWindowMs;
}

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

export interface HistoryWindow {
  /** Below nothing by a clock that was put back. */
  readonly ageMs: number;
  /** Revisions of the whole shard since it began. */
  readonly writes: number;
  /** What of them was seen: nothing of what was written while nobody watched. */
  readonly bytes: number;
  /** Of the shard's quota, history and all. */
  readonly usedShare: number;
}

/** Where so much is used, history is not worth its room. */
const ROOMY = 0.25;

export function windowIsOver({ ageMs, writes, bytes, usedShare }: HistoryWindow, pace: HistoryPace): boolean {
  if (ageMs < 0) return true;
  if (ageMs < pace.windowMs) return false;
  return writes >= pace.windowWrites || bytes >= pace.windowBytes || usedShare >= ROOMY || ageMs >= pace.longestWindowMs;
}

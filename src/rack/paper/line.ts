/** How bad a cable is. */
export interface Line {
  /** Parts of one: how many datagrams are lost, and how many come twice, in each direction. */
  readonly loss: number;
  readonly duplicates: number;
  /** Milliseconds a datagram takes at most; each takes its own, so they overtake each other. */
  readonly delayMs: number;
}

export const GOOD_LINE: Line = { loss: 0, duplicates: 0, delayMs: 0 };

/** Passes a datagram on as the line would: not, once or twice, now or later. @param random in [0, 1) */
export function pass(line: Line, random: () => number, deliver: () => void): void {
  if (line.loss > 0 && random() < line.loss) return;
  const times = line.duplicates > 0 && random() < line.duplicates ? 2 : 1;
  for (let time = 0; time < times; time++) {
    if (line.delayMs > 0) setTimeout(deliver, random() * line.delayMs);
    else deliver();
  }
}

/**
 * Which whole numbers of a range are free. Taking, giving back and finding one take the same time however many there are. A number
 * is a bit, set when it is taken; above each 32 of them is one that is set when all are.
 */
export interface FreeSet {
  readonly count: number;
  has(value: number): boolean;
  /** False when it was not free. */
  take(value: number): boolean;
  giveBack(value: number): void;
  /** A free one, the same one for the same `seed` while nothing else changes; undefined when there is none. Does not take it. */
  any(seed: number): number | undefined;
}

const FULL = 0xffff_ffff;

/** @param from first number, `to` the last one; all are free */
export function createFreeSet(from: number, to: number): FreeSet {
  const size = to - from + 1;
  let count = size;
  const levels = levelsOf(size);

  const word = (level: number, at: number) => levels[level]?.[at] ?? FULL;

  function isTaken(offset: number): boolean {
    return ((word(0, offset >>> 5) >>> (offset & 31)) & 1) === 1;
  }

  /** The first free one from there on. */
  function next(offset: number): number | undefined {
    let at = offset;
    for (let level = 0; level < levels.length; level++) {
      const free = ~word(level, at >>> 5) & (FULL << (at & 31));
      if (free !== 0) return lowest(level, (at & ~31) + trailingZeros(free));
      at = (at >>> 5) + 1;
    }
    return undefined;
  }

  /** The first free number below a place where there is one. */
  function lowest(level: number, place: number): number {
    let at = place;
    for (let below = level - 1; below >= 0; below--) at = at * 32 + trailingZeros(~word(below, at));
    return at;
  }

  return {
    get count() {
      return count;
    },
    has: (value) => value >= from && value <= to && !isTaken(value - from),
    take(value) {
      if (value < from || value > to || isTaken(value - from)) return false;
      count -= 1;
      let at = value - from;
      for (const words of levels) {
        const taken = ((words[at >>> 5] ?? 0) | (1 << (at & 31))) >>> 0;
        words[at >>> 5] = taken;
        if (taken !== FULL) break;
        at >>>= 5;
      }
      return true;
    },
    giveBack(value) {
      if (value < from || value > to || !isTaken(value - from)) return;
      count += 1;
      let at = value - from;
      for (const words of levels) {
        const before = words[at >>> 5] ?? 0;
        words[at >>> 5] = before & ~(1 << (at & 31));
        if (before !== FULL) break;
        at >>>= 5;
      }
    },
    any(seed) {
      if (count === 0) return undefined;
      const offset = next(seed % size) ?? next(0);
      return offset === undefined ? undefined : from + offset;
    },
  };
}

/** The lowest level first; in each, what the last word has beyond the range is taken. */
function levelsOf(size: number): Uint32Array[] {
  const levels: Uint32Array[] = [];
  let bits = size;
  do {
    const words = new Uint32Array(Math.ceil(bits / 32));
    if (bits % 32 !== 0) words[words.length - 1] = FULL << (bits % 32);
    levels.push(words);
    bits = words.length;
  } while (bits > 1);
  return levels;
}

function trailingZeros(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/**
 * Which whole numbers of a range are free. Taking, giving back and finding one take the same time however many there are;
 * memory grows with how many are taken, not with the range: a shuffle (Fisher and Yates) of which only the moved places are kept.
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

/** @param from first number, `to` the last one; all are free */
export function createFreeSet(from: number, to: number): FreeSet {
  const size = to - from + 1;
  /** Places 0 … count-1 hold what is free. */
  let count = size;
  const values = new Map<number, number>();
  const places = new Map<number, number>();
  const inRange = (value: number) => value >= from && value <= to;
  const valueAt = (place: number) => values.get(place) ?? place;
  const placeOf = (offset: number) => places.get(offset) ?? offset;

  function set(place: number, offset: number): void {
    if (place === offset) {
      values.delete(place);
      places.delete(offset);
    } else {
      values.set(place, offset);
      places.set(offset, place);
    }
  }

  function swap(a: number, b: number): void {
    const [left, right] = [valueAt(a), valueAt(b)];
    set(a, right);
    set(b, left);
  }

  return {
    get count() {
      return count;
    },
    has: (value) => inRange(value) && placeOf(value - from) < count,
    take(value) {
      if (!inRange(value)) return false;
      const place = placeOf(value - from);
      if (place >= count) return false;
      count -= 1;
      swap(place, count);
      return true;
    },
    giveBack(value) {
      if (!inRange(value)) return;
      const place = placeOf(value - from);
      if (place < count) return;
      swap(place, count);
      count += 1;
    },
    any(seed) {
      if (count === 0) return undefined;
      const own = seed % size;
      return from + (placeOf(own) < count ? own : valueAt(seed % count));
    },
  };
}

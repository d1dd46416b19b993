const MINUTE_MS = 60_000;
/** How many entries one question may look at: an answer now is worth more than the best answer. */
const MOST_LOOKS = 64;

/** When what expires, to the minute. Setting, deleting and asking take the same time however much is written down. */
export interface Calendar {
  readonly size: number;
  set(key: number, expires: number): void;
  delete(key: number): void;
  /** One of those that expired longest ago and that `fits`. What does not fit is looked at again in an hour. */
  expired(now: number, fits: (key: number) => boolean): number | undefined;
}

export function createCalendar(): Calendar {
  const places = new Map<number, { readonly minute: number; readonly at: number }>();
  /** In no order: the last one takes the place of one that goes. A set would step over all that it ever held. */
  const minutes = new Map<number, number[]>();
  /** Nothing is written down before this minute. */
  let first = Number.POSITIVE_INFINITY;

  function put(key: number, minute: number): void {
    remove(key);
    const keys = minutes.get(minute) ?? [];
    minutes.set(minute, keys);
    places.set(key, { minute, at: keys.push(key) - 1 });
    first = Math.min(first, minute);
  }

  function remove(key: number): void {
    const place = places.get(key);
    const keys = place && minutes.get(place.minute);
    if (!place || !keys) return;
    places.delete(key);
    const last = keys.pop();
    if (keys.length === 0) minutes.delete(place.minute);
    if (last === undefined || last === key) return;
    keys[place.at] = last;
    places.set(last, place);
  }

  return {
    get size() {
      return places.size;
    },
    set: (key, expires) => put(key, Math.ceil(expires / MINUTE_MS)),
    delete: remove,
    expired(now, fits) {
      const present = Math.floor(now / MINUTE_MS);
      let looks = 0;
      let empty = 0;
      while (first <= present) {
        for (let key = minutes.get(first)?.at(-1); key !== undefined; key = minutes.get(first)?.at(-1)) {
          if (fits(key)) return key;
          put(key, present + 60);
          if (++looks >= MOST_LOOKS) return undefined;
        }
        first += 1;
        // years in which nothing expires are not counted through
        if (++empty <= minutes.size) continue;
        first = Math.max(
          first,
          [...minutes.keys()].reduce((a, b) => Math.min(a, b), present + 1),
        );
        empty = 0;
      }
      return undefined;
    },
  };
}

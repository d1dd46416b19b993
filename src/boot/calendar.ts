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
  const minuteOf = new Map<number, number>();
  const days = new Map<number, Set<number>>();
  /** No day before this one is written down. */
  let first = Number.POSITIVE_INFINITY;

  function put(key: number, minute: number): void {
    remove(key);
    minuteOf.set(key, minute);
    const day = days.get(minute);
    if (day) day.add(key);
    else days.set(minute, new Set([key]));
    first = Math.min(first, minute);
  }

  function remove(key: number): void {
    const minute = minuteOf.get(key);
    if (minute === undefined) return;
    minuteOf.delete(key);
    const day = days.get(minute);
    day?.delete(key);
    if (day?.size === 0) days.delete(minute);
  }

  return {
    get size() {
      return minuteOf.size;
    },
    set: (key, expires) => put(key, Math.ceil(expires / MINUTE_MS)),
    delete: remove,
    expired(now, fits) {
      if (minuteOf.size === 0) return undefined;
      const present = Math.floor(now / MINUTE_MS);
      let looks = 0;
      // what was unplugged for years leaves years of empty minutes: the days there are, then, in place of counting through them
      if (present - first > days.size) first = [...days.keys()].reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
      for (; first <= present; first++) {
        for (const key of days.get(first) ?? []) {
          if (fits(key)) return key;
          put(key, present + 60);
          if (++looks >= MOST_LOOKS) return undefined;
        }
      }
      return undefined;
    },
  };
}

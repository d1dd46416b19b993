const DAY = 86_400_000;
/** Before it no zone is known well, and after it none at all: there its offset is what it was or will be then. */
const FIRST = Date.UTC(1900, 0, 1);
const LAST = Date.UTC(2500, 0, 1);

/** A time zone of the IANA database. Wall-clock times are milliseconds as if the clock on the wall showed UTC. */
export interface TimeZone {
  readonly name: string;
  /** What the clock on the wall is ahead of UTC at a moment, in milliseconds. */
  offset(at: number): number;
  /**
   * The moments at which the clock on the wall shows a time, in order: two where it is put back, none where it is put
   * forward over it, which is said by `after`, the moment at which it would have come had nobody touched the clock.
   */
  moments(wall: number): { readonly at: readonly number[]; readonly after: number };
}

export const UTC: TimeZone = { name: "UTC", offset: () => 0, moments: (wall) => ({ at: [wall], after: wall }) };

/** Undefined when there is no zone of that name, as `Europe/Berlin` is one; offsets such as `+02:00` are none. */
export function readTimeZone(name: string): TimeZone | undefined {
  if (name === "UTC") return UTC;
  const known = zones.get(name);
  if (known) return known;
  if (!/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/.test(name) || name.length > 64) return undefined;
  const clock = clockOf(name);
  if (!clock) return undefined;
  const zone = zoneOf(name, clock);
  // names come in any case, so that there are more than zones
  if (zones.size < MOST_KEPT) zones.set(name, zone);
  return zone;
}

/** Making a clock takes far longer than reading it. */
const zones = new Map<string, TimeZone>();
const MOST_KEPT = 1_000;

function clockOf(timeZone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch {
    return undefined;
  }
}

function zoneOf(name: string, clock: Intl.DateTimeFormat): TimeZone {
  function offset(moment: number): number {
    const at = Math.min(Math.max(moment, FIRST), LAST);
    const parts: Record<string, number> = {};
    for (const { type, value } of clock.formatToParts(at)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    const whole = Math.floor(at / 1_000) * 1_000;
    return Date.UTC(year, month - 1, day, hour, minute, second) - whole;
  }
  return {
    name,
    offset,
    moments(wall) {
      // no zone moves its clock twice within two days
      const [before, later] = [offset(wall - DAY), offset(wall + DAY)];
      const candidates = before === later ? [wall - before] : [wall - before, wall - later].sort((a, b) => a - b);
      return { at: candidates.filter((at) => at + offset(at) === wall), after: wall - before };
    },
  };
}

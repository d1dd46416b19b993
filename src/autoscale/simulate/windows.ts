import { z } from "zod";
import { count, moment, seconds } from "./amounts.ts";

const name = z.string().min(1).max(253);

/** A bound of a window: on the clock of `now`, of the calendar, or so long from now. */
interface Bound {
  readonly at: number;
  readonly said: "number" | "calendar" | "from now";
}

const onClock = seconds.transform((at): Bound => ({ at, said: "number" }));
const fromNow = seconds.transform((at): Bound => ({ at, said: "from now" }));
const instant = z.union([onClock, moment.transform((at): Bound => ({ at, said: "calendar" }))]);

/** Servers kept for a tenant from a moment to another. */
export const window = z
  .strictObject({
    id: z.string().optional(),
    name: z.string().optional(),
    tenant: z.string(),
    type: name.optional(),
    hosts: z.union([count, z.array(name)]).optional(),
    host: name.optional(),
    n: count.optional(),
    count: count.optional(),
    fromS: onClock.optional(),
    from: instant.optional(),
    startS: onClock.optional(),
    start: instant.optional(),
    inS: fromNow.optional(),
    startInS: fromNow.optional(),
    startsInS: fromNow.optional(),
    toS: onClock.optional(),
    to: instant.optional(),
    untilS: onClock.optional(),
    until: instant.optional(),
    endS: onClock.optional(),
    end: instant.optional(),
    endInS: fromNow.optional(),
    endsInS: fromNow.optional(),
    durationS: seconds.optional(),
    forS: seconds.optional(),
  })
  .transform((value) => {
    const inS = value.inS ?? value.startInS ?? value.startsInS;
    const from: Bound = inS ?? value.fromS ?? value.from ?? value.startS ?? value.start ?? { at: 0, said: "from now" };
    const to = value.toS ?? value.to ?? value.untilS ?? value.until ?? value.endS ?? value.end ?? value.endInS ?? value.endsInS;
    const length = value.durationS ?? value.forS;
    return {
      name: value.id ?? value.name,
      tenant: value.tenant,
      type: value.type,
      hosts: value.hosts ?? (value.host === undefined ? (value.n ?? value.count ?? 1) : [value.host]),
      from,
      // an end beside `inS` is from now as well
      to:
        to && inS && to.said === "number"
          ? { ...to, said: inS.said }
          : (to ?? { ...from, at: from.at + (length ?? Number.POSITIVE_INFINITY) }),
    };
  });

/** A moment of today is beyond this, no plan looks so far ahead. */
const CALENDAR = 1e9;

/** A window as it is seen now: how long until it begins and ends. */
export interface Window extends Omit<z.output<typeof window>, "from" | "to"> {
  /** Where the scenario says it. */
  readonly path: string;
  readonly startsInS: number;
  readonly endsInS: number;
}

/** Numbers are on the clock of `now`; where `now` is a date and they are none, they are so long from now. */
export function spanOf(from: Bound, to: Bound, now: number): Pick<Window, "startsInS" | "endsInS"> {
  const numbers = [from, to].filter((one) => one.said === "number" && Number.isFinite(one.at)).map((one) => one.at);
  const apart = now >= CALENDAR && Math.max(...numbers) < CALENDAR;
  const inS = ({ at, said }: Bound) => (said === "from now" || (said === "number" && apart) ? at : at - now);
  return { startsInS: inS(from), endsInS: inS(to) };
}

import { z } from "zod";
import { count, moment, seconds } from "./amounts.ts";

const name = z.string().min(1).max(253);
const instant = z.union([seconds, moment]);

/** Servers kept for a tenant from a moment to another, on the clock of `now`; or, with `inS`, so long from now. */
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
    fromS: seconds.optional(),
    from: instant.optional(),
    startS: seconds.optional(),
    start: instant.optional(),
    inS: seconds.optional(),
    startInS: seconds.optional(),
    startsInS: seconds.optional(),
    toS: seconds.optional(),
    to: instant.optional(),
    untilS: seconds.optional(),
    until: instant.optional(),
    endS: seconds.optional(),
    end: instant.optional(),
    endsInS: seconds.optional(),
    durationS: seconds.optional(),
    forS: seconds.optional(),
  })
  .transform((value) => {
    const inS = value.inS ?? value.startInS ?? value.startsInS;
    const from = inS ?? value.fromS ?? value.from ?? value.startS ?? value.start ?? 0;
    const to = value.toS ?? value.to ?? value.untilS ?? value.until ?? value.endS ?? value.end ?? value.endsInS;
    const length = value.durationS ?? value.forS;
    return {
      name: value.id ?? value.name,
      tenant: value.tenant,
      type: value.type,
      hosts: value.hosts ?? (value.host === undefined ? (value.n ?? value.count ?? 1) : [value.host]),
      fromNow: inS !== undefined,
      fromS: from,
      toS: to ?? (length === undefined ? Number.POSITIVE_INFINITY : from + length),
    };
  })
  .refine((value) => value.toS > value.fromS, { message: "ends before it begins" });

export type Window = z.output<typeof window>;

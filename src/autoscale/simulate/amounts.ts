import { z } from "zod";
import { parseDuration } from "../../core/duration.ts";
import { ONE, parseQuantity, type Quantity } from "../../core/quantity.ts";

const GIBIBYTE = 2n ** 30n;

/** A count or a Kubernetes quantity (`1.5`, `500m`), never below zero. */
export const amount = quantityIn(1n);

/** As {@link amount}, but a bare number is in GiB. */
export const gibibytes = quantityIn(GIBIBYTE);

function quantityIn(unit: bigint) {
  return z.union([z.number(), z.string()]).transform((value, context): Quantity => {
    const parsed = parseQuantity(value);
    if (parsed === undefined || parsed < 0n) {
      context.addIssue({ code: "custom", message: `${JSON.stringify(value)} is not a quantity of zero or more` });
      return z.NEVER;
    }
    return typeof value === "number" ? capped(parsed * unit) : parsed;
  });
}

/** As much as Kubernetes can say. */
function capped(value: Quantity): Quantity {
  const most = (2n ** 63n - 1n) * ONE;
  return value > most ? most : value;
}

/** Seconds: a number, or a duration such as `1h30m`; `Never` is Infinity. */
export const seconds = z.union([z.number(), z.string()]).transform((value, context): number => {
  if (typeof value === "number") return value;
  const ms = parseDuration(value);
  if (ms !== undefined) return ms / 1_000;
  context.addIssue({ code: "custom", message: `${JSON.stringify(value)} is no number of seconds and no duration such as 1h30m` });
  return z.NEVER;
});

/** A moment: seconds since the epoch, or RFC 3339. */
export const moment = z.union([z.number(), z.string()]).transform((value, context): number => {
  if (typeof value === "number") return value;
  const ms = Date.parse(value);
  if (!Number.isNaN(ms)) return ms / 1_000;
  context.addIssue({
    code: "custom",
    message: `${JSON.stringify(value)} is no number of seconds and no time such as 2026-01-31T12:00:00Z`,
  });
  return z.NEVER;
});

/** How many of a thing one entry stands for; bounded, so that one line of input does not fill the memory. */
export const MOST_OF_A_THING = 1_000_000;
export const count = z.int().min(0).max(MOST_OF_A_THING);

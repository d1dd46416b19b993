/** Its multiples are spread evenly over the places of a list, however far apart the rounds are. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** A list from another place on from round to round: what is cut off at its end has its turn, and no memory is needed. */
export function inTurn<T>(list: readonly T[], now = 0): T[] {
  const from = Math.floor(((Math.floor(now) * GOLDEN) % 1) * list.length);
  return [...list.slice(from), ...list.slice(0, from)];
}

/** How many tenants a round's budgets are shared by: those that want something. */
export function sharers(tenants: readonly { readonly pods: readonly unknown[] }[]): number {
  return Math.max(1, tenants.filter(({ pods }) => pods.length > 0).length);
}

/** What a round reads or tries of a tenant beyond its budget, of what is left then, in turn. */
export const IN_TURN = 0.5;

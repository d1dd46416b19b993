/** Sorts by a text of each thing. */
export function by<T>(text: (one: T) => string): (a: T, b: T) => number {
  return (a, b) => {
    const [one, other] = [text(a), text(b)];
    return one < other ? -1 : one > other ? 1 : 0;
  };
}

/** A list in an order of its own, by what its things say: where they stand in a file then decides nothing. */
export function inOwnOrder<T>(list: readonly T[]): T[] {
  return list
    .map((one) => ({ one, text: JSON.stringify(one, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)) }))
    .sort(by(({ text }) => text))
    .map(({ one }) => one);
}

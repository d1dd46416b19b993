/** Numbers that look random and are the same for the same seed: splitmix32. */
export interface Random {
  /** From 0 to 2³² − 1. */
  next(): number;
  /** From 0 to below the bound. */
  below(bound: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  // the high bits of a product: no division, and no bias that matters here
  const below = (bound: number) => Math.floor((next() / 0x1_0000_0000) * bound);
  return { next, below, pick: (from) => from[below(from.length)] ?? from[0] };
}

/** By code units and by number: never by locale. */
export function order<T extends string | bigint | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

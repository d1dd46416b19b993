import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Methods = Record<string, ((...args: unknown[]) => unknown) | undefined>;

const ONE_STEP = ["get", "set", "has", "delete", "add", "values", "keys", "entries"] as const;
const ALL_OF_IT = [
  "find",
  "findIndex",
  "findLast",
  "filter",
  "some",
  "every",
  "map",
  "flatMap",
  "forEach",
  "reduce",
  "includes",
  "indexOf",
  "sort",
] as const;

/** Steps of work: what is asked of any map or set, and how much of any list its methods look at. */
export function counted(act: () => void): number {
  let steps = 0;
  const restore: (() => void)[] = [];
  function count(prototype: object, method: string, cost: (of: unknown, result: unknown) => number): void {
    const owner = prototype as Methods;
    const original = owner[method];
    if (!original) return;
    owner[method] = function (this: unknown, ...args: unknown[]) {
      const result = original.apply(this, args);
      steps += cost(this, result);
      return result;
    };
    restore.push(() => Object.assign(owner, { [method]: original }));
  }
  for (const { prototype } of [Map, Set]) for (const method of ONE_STEP) count(prototype, method, () => 1);
  for (const method of ALL_OF_IT) count(Array.prototype, method, (of) => (of as unknown[]).length);
  count(Array.prototype, "slice", (_, result) => (result as unknown[]).length);
  try {
    act();
  } finally {
    for (const one of restore) one();
  }
  return steps;
}

/** Of this process's heap, without what nobody needs any more. */
export function usedBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

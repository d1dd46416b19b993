import { ONE, type Quantity, type Resources } from "../../core/quantity.ts";

/** The scheduler counts processors in thousandths and everything else in whole units; so do plans. */
const MILLI: Quantity = ONE / 1000n;
const EXACT: Quantity = 2n ** 53n - 1n;

/** What is asked for, rounded up; more than can be counted exactly is more than anybody has. */
export function asked(name: string, amount: Quantity): number {
  const unit = name === "cpu" ? MILLI : ONE;
  const count = (amount + unit - 1n) / unit;
  return count > EXACT ? Number.POSITIVE_INFINITY : Number(count);
}

/** What there is, rounded down. */
export function held(name: string, amount: Quantity): number {
  const count = amount / (name === "cpu" ? MILLI : ONE);
  return Number(count > EXACT ? EXACT : count < -EXACT ? -EXACT : count);
}

/** Amounts by column: a request is short, a place is as long as there are columns. */
export interface Request {
  readonly at: Int32Array;
  readonly amounts: Float64Array;
}

/** Resource names by number. Only what somebody offers has a column: nobody's pods make a plan wider. */
export class Columns {
  readonly names: readonly string[];
  private readonly numbers: ReadonlyMap<string, number>;

  constructor(names: Iterable<string>) {
    this.names = [...new Set(names)];
    this.numbers = new Map(this.names.map((name, number) => [name, number]));
  }

  get count(): number {
    return this.names.length;
  }

  number(name: string): number | undefined {
    return this.numbers.get(name);
  }

  /** What is there, by column. */
  held(resources: Resources): Float64Array {
    const vector = new Float64Array(this.count);
    for (const [name, amount] of resources) {
      const column = this.numbers.get(name);
      if (column !== undefined) vector[column] = held(name, amount);
    }
    return vector;
  }

  /** What is asked for; undefined when some of it is not offered by anybody. */
  request(resources: Resources): Request | undefined {
    const entries: [number, number][] = [];
    for (const [name, amount] of resources) {
      if (amount <= 0n) continue;
      const column = this.numbers.get(name);
      if (column === undefined) return undefined;
      entries.push([column, asked(name, amount)]);
    }
    entries.sort(([a], [b]) => a - b);
    return { at: Int32Array.from(entries, ([column]) => column), amounts: Float64Array.from(entries, ([, amount]) => amount) };
  }

  /** What is asked for as far as anybody offers it; the rest counts for nothing. */
  known(resources: Resources): Request {
    const entries = [...resources].flatMap(([name, amount]): [number, number][] => {
      const column = this.numbers.get(name);
      return column === undefined ? [] : [[column, asked(name, amount)]];
    });
    return { at: Int32Array.from(entries, ([column]) => column), amounts: Float64Array.from(entries, ([, amount]) => amount) };
  }

  /** Takes from a place what is asked for; for daemons and running pods, part of which may have no column. */
  charge(place: Float64Array, resources: Resources, offset = 0): void {
    for (const [name, amount] of resources) {
      const column = this.numbers.get(name);
      if (column !== undefined) place[offset + column] = (place[offset + column] ?? 0) - asked(name, amount);
    }
  }
}

/** How often a request fits into a place that begins at `offset`, at most `most` times. */
export function timesIn(place: Float64Array, offset: number, request: Request, most: number): number {
  const { at, amounts } = request;
  let times = most;
  for (let n = 0; n < at.length; n += 1) {
    const have = place[offset + (at[n] as number)] as number;
    const want = amounts[n] as number;
    if (have < want) return 0;
    if (have < want * times) times = Math.floor(have / want);
  }
  return times;
}

/**
 * Kubernetes quantities, exactly: a bigint count of nano-units.
 * Nothing in Kubernetes is smaller than a nano; what is written finer is rounded away from zero, as upstream does.
 */
export type Quantity = bigint;

/** One whole unit: a CPU, a byte, a GPU. */
export const ONE: Quantity = 1_000_000_000n;

/** Amounts by resource name. A Map, because the names come from tenants. */
export type Resources = ReadonlyMap<string, Quantity>;

const LARGEST: Quantity = (2n ** 63n - 1n) * ONE;
const PATTERN = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)$/;

const DECIMAL = [
  ["E", 18],
  ["P", 15],
  ["T", 12],
  ["G", 9],
  ["M", 6],
  ["k", 3],
  ["", 0],
  ["m", -3],
  ["u", -6],
  ["n", -9],
] as const;
const DECIMAL_EXPONENT: ReadonlyMap<string, number> = new Map(DECIMAL);
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] as const;

/** Longer numbers than any real one are refused before they cost time. */
const LONGEST = 100;

/** The quantity of a text such as `1500m`, `1.5Gi`, `2e3`; undefined when it is none. Beyond int64 it is capped, as upstream does. */
export function parseQuantity(text: string | number): Quantity | undefined {
  const source = typeof text === "number" ? String(text) : text;
  if (source.length > LONGEST) return undefined;
  const match = PATTERN.exec(source);
  if (!match) return undefined;
  const [, sign = "", whole = "", fraction = "", suffix = ""] = match;
  const digits = whole + fraction;
  if (digits === "") return undefined;
  const scale = scaleOf(suffix);
  if (scale === undefined) return undefined;
  const exponent = scale.ten + 9 - fraction.length;
  const mantissa = BigInt(digits) * scale.factor;
  const size = exponent >= 0 ? mantissa * 10n ** BigInt(exponent) : divideUp(mantissa, 10n ** BigInt(-exponent));
  const capped = size > LARGEST ? LARGEST : size;
  return sign === "-" ? -capped : capped;
}

/** @throws RangeError when the text is no quantity: for texts the apiserver has already validated */
export function quantity(text: string | number): Quantity {
  const parsed = parseQuantity(text);
  if (parsed === undefined) throw new RangeError(`not a quantity: ${JSON.stringify(text)}`);
  return parsed;
}

function scaleOf(suffix: string): { factor: bigint; ten: number } | undefined {
  const ten = DECIMAL_EXPONENT.get(suffix);
  if (ten !== undefined) return { factor: 1n, ten };
  const binary = (BINARY as readonly string[]).indexOf(suffix);
  if (binary > 0) return { factor: 1024n ** BigInt(binary), ten: 0 };
  const exponent = Number(suffix.slice(1));
  return Math.abs(exponent) <= 60 ? { factor: 1n, ten: exponent } : undefined;
}

function divideUp(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}

/**
 * The canonical text: no fraction, the largest suffix that leaves none.
 * Binary suffixes only for whole numbers of at least 1024, as upstream does.
 */
export function formatQuantity(value: Quantity, style: "decimal" | "binary" = "decimal"): string {
  if (value === 0n) return "0";
  const sign = value < 0n ? "-" : "";
  const size = value < 0n ? -value : value;
  return sign + (style === "binary" && size % ONE === 0n && size >= 1024n * ONE ? inBinary(size / ONE) : inDecimal(size));
}

function inBinary(whole: bigint): string {
  let rest = whole;
  let step = 0;
  while (rest % 1024n === 0n && step < BINARY.length - 1) {
    rest /= 1024n;
    step += 1;
  }
  return `${rest}${BINARY[step]}`;
}

function inDecimal(nano: bigint): string {
  for (const [suffix, ten] of DECIMAL) {
    const unit = 10n ** BigInt(ten + 9);
    if (nano % unit === 0n) return `${nano / unit}${suffix}`;
  }
  return `${nano}n`;
}

/** Amounts of an object's resource list; what is not a quantity is left out (the apiserver lets none through). */
export function parseResources(list: Readonly<Record<string, string | number>> | undefined): Resources {
  const resources = new Map<string, Quantity>();
  for (const [name, text] of Object.entries(list ?? {})) {
    const amount = parseQuantity(text);
    if (amount !== undefined) resources.set(name, amount);
  }
  return resources;
}

export function formatResources(resources: Resources): Record<string, string> {
  const entries = [...resources].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, amount]) => [name, formatQuantity(amount, inBytes(name) ? "binary" : "decimal")]));
}

function inBytes(name: string): boolean {
  return name === "memory" || name === "ephemeral-storage" || name.startsWith("hugepages-");
}

export function add(...parts: readonly Resources[]): Resources {
  return sum(parts);
}

/** As {@link add}, for lists from outside: they may be longer than a call takes arguments. */
export function sum(parts: Iterable<Resources>): Resources {
  const total = new Map<string, Quantity>();
  for (const part of parts) for (const [name, amount] of part) total.set(name, (total.get(name) ?? 0n) + amount);
  return total;
}

/** May go below zero: an overcommitted node has less than nothing free. */
export function subtract(from: Resources, what: Resources): Resources {
  const rest = new Map(from);
  for (const [name, amount] of what) rest.set(name, (rest.get(name) ?? 0n) - amount);
  return rest;
}

export function largest(...parts: readonly Resources[]): Resources {
  const most = new Map<string, Quantity>();
  for (const part of parts) {
    for (const [name, amount] of part) {
      const before = most.get(name);
      if (before === undefined || amount > before) most.set(name, amount);
    }
  }
  return most;
}

/** The resources of which there is not enough; what nobody asks for is never short. */
export function shortOf(free: Resources, wanted: Resources): string[] {
  const short: string[] = [];
  for (const [name, amount] of wanted) if (amount > 0n && amount > (free.get(name) ?? 0n)) short.push(name);
  return short.sort();
}

/** How often `wanted` fits, at most `most` times. */
export function timesFitting(free: Resources, wanted: Resources, most: number): number {
  let times = most;
  for (const [name, amount] of wanted) {
    if (amount <= 0n) continue;
    const have = free.get(name) ?? 0n;
    if (have < amount) return 0;
    const fits = have / amount;
    if (fits < BigInt(times)) times = Number(fits);
  }
  return times;
}

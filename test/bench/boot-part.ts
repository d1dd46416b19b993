/** One part of `npm run bench -- boot`: ours beside its peers, in one run on one machine. */
export interface BootPart {
  /** Ours over the best peer's, each of the same thing; above 1 is better. */
  readonly ratios: Readonly<Record<string, number>>;
  /** What was measured, by `<server> <what> <unit>`. */
  readonly figures: Readonly<Record<string, number>>;
  readonly table: readonly (readonly string[])[];
}

export interface BootPartOptions {
  /** A shorter run, to see that all works; its figures mean little. */
  readonly quick: boolean;
  say(line: string): void;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle) - 1] ?? 0)) / 2;
}

/** The list of a name, made when there is none yet. */
export function listOf<T>(lists: Record<string, T[]>, name: string): T[] {
  const list = lists[name] ?? [];
  lists[name] = list;
  return list;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

/** Columns aligned; the first row is the head. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? "").length)));
  return rows
    .map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("  "))
    .join("\n");
}

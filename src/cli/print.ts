/** Columns as kubectl prints them: upper-case heads, three spaces between, no lines. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

/** How long ago, as kubectl says it: 45s, 12m, 3h, 5d. */
export function age(from: string | undefined, now: Date): string {
  if (!from) return "<unknown>";
  return span(Math.max(0, (now.getTime() - Date.parse(from)) / 1000));
}

/** A length of time in the two largest units that matter. */
export function span(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${Math.round(seconds % 60)}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}

/** A length of time where tenths matter: 0.4s, 12.3s, 4m10s. */
export function seconds(length: number): string {
  return length < 60 ? `${length.toFixed(1)}s` : span(length);
}

export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 10 || Number.isInteger(size) ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Without what a terminal would obey: names, messages and firmware's strings come from machines and tenants. */
export function plain(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, "�");
}

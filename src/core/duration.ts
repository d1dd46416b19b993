const PATTERN = /^(?:[0-9]+(?:s|m|h))+$/;
const PART = /([0-9]+)(s|m|h)/g;
const MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Milliseconds of a duration as Karpenter's schema has it (`30s`, `1h30m`, `Never`).
 * `Never` is Infinity; undefined when the text is not a duration.
 */
export function parseDuration(text: string): number | undefined {
  if (text === "Never") return Number.POSITIVE_INFINITY;
  if (!PATTERN.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(PART)) ms += Number(count) * (MS[unit ?? ""] ?? 0);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** The canonical text of a duration: whole seconds, rounded up; Infinity is `Never`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "Never";
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  const parts = [
    [Math.floor(seconds / 3_600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  return (
    parts
      .filter(([count]) => count > 0)
      .map(([count, unit]) => `${count}${unit}`)
      .join("") || "0s"
  );
}

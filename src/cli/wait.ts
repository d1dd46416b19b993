import { InvalidArgumentError, Option } from "commander";
import type { Clock } from "../core/clock.ts";
import { formatDuration, parseDuration } from "../core/duration.ts";
import { IronwrightError } from "../core/errors.ts";
import { plain, span } from "./print.ts";

export interface Look {
  readonly done: boolean;
  /** What it waits for, for people. */
  readonly seen: string;
}

export interface Waiting {
  /** For people: `virtual cluster team/acme`. */
  readonly what: string;
  readonly wanted: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Where the line goes. */
  readonly out: { readonly isTTY?: boolean; write(text: string): unknown };
  look(): Promise<Look>;
}

const LOOK_MS = 250;

/**
 * Looks until it is done, with a line that says what it waits for and how long; on a terminal one line that changes, elsewhere a
 * line each time that it waits for something else. Gives back how many seconds it took.
 * @throws IRW_WAIT_TIMEOUT
 */
export async function waitFor({ what, wanted, timeoutMs, clock, out, look }: Waiting): Promise<number> {
  const began = clock.now().getTime();
  let before = "";
  const erase = () => out.isTTY && out.write("\r\x1b[K");
  for (;;) {
    const { done, seen } = await look();
    const tookMs = clock.now().getTime() - began;
    if (done) {
      erase();
      return tookMs / 1_000;
    }
    if (tookMs >= timeoutMs) {
      erase();
      throw new IronwrightError("IRW_WAIT_TIMEOUT", { what, wanted, after: span(timeoutMs / 1_000), seen });
    }
    const line = plain(`waiting for ${what}: ${seen.split("\n", 1)[0]}`).slice(0, 200);
    if (out.isTTY) out.write(`\r\x1b[K${line} (${span(tookMs / 1_000)})`);
    else if (line !== before) out.write(`${line} (${span(tookMs / 1_000)})\n`);
    before = line;
    await clock.sleep(LOOK_MS);
  }
}

/** A duration of the command line, for commander. */
export function durationOption(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || !Number.isFinite(ms)) throw new InvalidArgumentError("expected a duration such as 30s or 1h30m");
  return ms;
}

/** A duration with a default, which help shows as people write it. */
export function withDefault(flags: string, description: string, defaultMs: number): Option {
  return new Option(flags, description).argParser(durationOption).default(defaultMs, formatDuration(defaultMs));
}

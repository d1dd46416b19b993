import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../core/clock.ts";

/**
 * The NICs that are booting from here just now, as a file that `ironwright-native advertise` reads: it answers their router
 * solicitations and nobody else's. A line is `MAC UNTIL`, in seconds since 1970.
 */
export interface Netbooting {
  saw(hardware: string): void;
}

export interface NetbootingOptions {
  readonly path: string;
  readonly clock: Clock;
  onTrouble(error: unknown): void;
}

/** From the firmware's first DISCOVER to the end of iPXE. */
const BOOTS_FOR_S = 180;
/** A rack that boots at once is one writing, not a thousand. */
const GATHER_MS = 20;

export function createNetbooting({ path, clock, onTrouble }: NetbootingOptions): Netbooting {
  const until = new Map<string, number>();
  let isWaiting = false;

  function write(): void {
    isWaiting = false;
    const now = clock.now().getTime() / 1000;
    for (const [hardware, end] of until) if (end <= now) until.delete(hardware);
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(`${path}.new`, [...until].map(([hardware, end]) => `${hardware} ${Math.ceil(end)}\n`).join(""), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      onTrouble(error);
    }
  }

  return {
    saw(hardware) {
      const now = clock.now().getTime() / 1000;
      // half of its time is left: the file is good for it
      if ((until.get(hardware) ?? 0) - now > BOOTS_FOR_S / 2) return;
      until.set(hardware, now + BOOTS_FOR_S);
      if (isWaiting) return;
      isWaiting = true;
      void clock.sleep(GATHER_MS).then(write, write);
    },
  };
}

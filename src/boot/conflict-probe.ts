import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import { ipv4Text, parseIpv4 } from "../wire/index.ts";

/** Asks the network whether somebody has an address already: RFC 2131 §3.1, step 2. */
export interface ConflictProbe {
  isUsed(address: number): Promise<boolean>;
  stop(): void;
}

/** The native helper takes 0.4 s; one that does not answer any more holds up nobody for longer than this. */
const PATIENCE_MS = 1000;
/** Addresses asked for at a time; beyond it nobody is kept waiting. */
const MOST = 1024;

/**
 * @param pair the other end of `ironwright-native probe`: addresses go out a line each, `ADDRESS free` or `ADDRESS used MAC` come
 * back. When it is gone, every address counts as free, as it does without a probe.
 * @param onGone told when that happens, unless it was stopped
 */
export function createConflictProbe(pair: Duplex, clock: Clock, onGone: () => void): ConflictProbe {
  const asked = new Map<number, { readonly answer: Promise<boolean>; tell(isUsed: boolean): void }>();
  let isGone = false;
  let isStopped = false;
  createInterface({ input: pair }).on("line", (line) => {
    const [address = "", verdict] = line.split(" ");
    asked.get(parseIpv4(address) ?? -1)?.tell(verdict === "used");
  });
  pair.on("error", gone).on("close", gone);

  function gone(): void {
    if (isGone) return;
    isGone = true;
    if (!isStopped) onGone();
    for (const one of asked.values()) one.tell(false);
  }

  return {
    isUsed(address) {
      const before = asked.get(address);
      if (before) return before.answer;
      if (isGone || asked.size >= MOST) return Promise.resolve(false);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const answer = promise.finally(() => asked.delete(address));
      asked.set(address, { answer, tell: resolve });
      pair.write(`${ipv4Text(address)}\n`);
      void clock.sleep(PATIENCE_MS).then(() => resolve(false));
      return answer;
    },
    stop() {
      isStopped = true;
      pair.destroy();
    },
  };
}

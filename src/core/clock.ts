import { setTimeout as wait } from "node:timers/promises";

/** Time as a parameter: production passes {@link systemClock}, tests a clock they move. */
export interface Clock {
  now(): Date;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** As Kubernetes writes times: whole seconds, cut off. */
export function timestamp(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, "Z");
}

/** To the millisecond, as Kubernetes' MicroTime may be: for moments that are compared with one another. */
export function moment(at: Date): string {
  return at.toISOString();
}

export const systemClock: Clock = {
  now: () => new Date(),
  async sleep(ms, signal) {
    signal?.throwIfAborted();
    try {
      await wait(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
  },
};

import { IronwrightError } from "../../core/errors.ts";
import { callJson } from "./unix-api.ts";

/** Longer than any start from nothing takes. */
const WAKE_MS = 60_000;

/**
 * Asks the supervisor to wake a cell, once for all who wait; resolves when its apiserver answers.
 * @throws IRW_SUPERVISOR_UNREACHABLE, or what the supervisor says
 */
export function waker(socket: string): (cell: string) => Promise<void> {
  const waking = new Map<string, Promise<void>>();
  return (cell) => {
    const under = waking.get(cell);
    if (under) return under;
    const mine = callJson<unknown>(socket, "POST", `/cells/${encodeURIComponent(cell)}/wake`, {
      signal: AbortSignal.timeout(WAKE_MS),
      unreachable: (reason) => new IronwrightError("IRW_SUPERVISOR_UNREACHABLE", { socket, reason }),
    })
      .then(() => {})
      .finally(() => waking.delete(cell));
    waking.set(cell, mine);
    return mine;
  };
}

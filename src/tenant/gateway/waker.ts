import { IronwrightError } from "../../core/errors.ts";
import { callJson } from "../../ipc/index.ts";

/** Longer than any start from nothing takes. */
const WAKE_MS = 60_000;

/**
 * Asks the supervisor to wake a cell; resolves when its apiserver answers.
 * @throws IRW_SUPERVISOR_UNREACHABLE, or what the supervisor says
 */
export function waker(socket: string): (cell: string) => Promise<void> {
  return async (cell) => {
    await callJson<unknown>(socket, "POST", `/cells/${encodeURIComponent(cell)}/wake`, {
      signal: AbortSignal.timeout(WAKE_MS),
      unreachable: (reason, cause) => new IronwrightError("IRW_SUPERVISOR_UNREACHABLE", { socket, reason }, cause),
    });
  };
}

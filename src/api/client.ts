import { request } from "node:http";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Problem } from "./answers.ts";

const TIMEOUT_MS = 10_000;

/** A problem the daemon told, as it told it. */
export class ApiProblem extends Error {
  readonly code: string;
  readonly next: string;

  constructor({ code, message, next }: Problem) {
    super(message);
    this.code = code;
    this.next = next;
  }
}

/**
 * Asks the daemon of this host.
 * @param path e.g. `/v1/leases`
 * @throws IRW_API_UNREACHABLE, or {@link ApiProblem} with what the daemon says
 */
export async function askDaemon<T>(socket: string, path: string): Promise<T> {
  const { status, text } = await get(socket, path).catch((error: unknown) => {
    throw new IronwrightError("IRW_API_UNREACHABLE", { socket, reason: reasonOf(error) }, error);
  });
  if (status === 200) return JSON.parse(text) as T;
  throw new ApiProblem(problemIn(text) ?? { code: "IRW_API_REQUEST", message: `HTTP ${status}: ${text}`, next: "see the daemon's log" });
}

function problemIn(text: string): Problem | undefined {
  try {
    const { code, message, next } = JSON.parse(text) as Partial<Problem>;
    return code && message && next ? { code, message, next } : undefined;
  } catch {
    return undefined;
  }
}

function get(socketPath: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }));
      response.on("error", reject);
    });
    asking.on("timeout", () => asking.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    asking.on("error", reject);
    asking.end();
  });
}

import { request } from "node:http";
import { type Code, type Facts, IronwrightError, reasonOf } from "../core/errors.ts";
import { readText, TooLarge } from "./text.ts";

/** A thousand tenants' children, each with its last lines, are some MiB. */
const LARGEST_ANSWER_BYTES = 64 * 2 ** 20;

export interface CallOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** What to throw when nobody answers. */
  readonly unreachable: (reason: string, cause: unknown) => Error;
}

/**
 * Calls who is {@link serving} on a Unix socket; its coded errors are the caller's.
 * @throws the signal's reason, what `unreachable` makes, and a plain error when the call failed there
 */
export async function callJson<T>(socketPath: string, method: string, path: string, options: CallOptions): Promise<T> {
  const { body, signal, unreachable } = options;
  const call = `${method} ${path} on ${socketPath}`;
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const fail = (error: unknown) => reject(signal?.aborted ? signal.reason : unreachable(reasonOf(error), error));
    const asking = request({ socketPath, method, path, agent: false, ...(signal ? { signal } : {}) }, (response) => {
      readText(response, LARGEST_ANSWER_BYTES).then(
        (answered) => resolve({ status: response.statusCode ?? 500, text: answered }),
        (error: unknown) => (error instanceof TooLarge ? reject(new Error(`${call}: ${error.message}`)) : fail(error)),
      );
    });
    asking.once("error", fail);
    asking.end(body === undefined ? undefined : JSON.stringify(body));
  });
  if (status < 300) return JSON.parse(text) as T;
  const { code, facts, message = `it was answered with ${status}` } = refusalIn(text);
  if (code && facts) throw new IronwrightError(code, facts);
  throw new Error(`${call}: ${message}`);
}

function refusalIn(text: string): { readonly code?: Code; readonly facts?: Facts<Code>; readonly message?: string } {
  try {
    return JSON.parse(text);
  } catch {
    return text === "" ? {} : { message: text.slice(0, 200) };
  }
}

import { request } from "node:http";
import { type Code, type Facts, IronwrightError, reasonOf } from "../core/errors.ts";
import { readText } from "./text.ts";

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
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const fail = (error: unknown) => reject(signal?.aborted ? signal.reason : unreachable(reasonOf(error), error));
    const asking = request({ socketPath, method, path, agent: false, ...(signal ? { signal } : {}) }, (response) => {
      readText(response, LARGEST_ANSWER_BYTES).then((answered) => resolve({ status: response.statusCode ?? 500, text: answered }), fail);
    });
    asking.once("error", fail);
    asking.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const value = parse(text) as T & { code?: Code; facts?: Facts<Code>; message?: string };
  if (status < 300) return value;
  if (value.code && value.facts) throw new IronwrightError(value.code, value.facts);
  throw new Error(value.message ?? `${method} ${path} on ${socketPath} was answered with ${status}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text === "" ? "{}" : text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

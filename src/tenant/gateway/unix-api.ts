import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import { type Code, type Facts, IronwrightError, reasonOf } from "../../core/errors.ts";

const LARGEST_BODY_BYTES = 4 * 1024 * 1024;

export interface Call {
  /** What the path's group matched. */
  readonly name: string;
  readonly body: unknown;
}

export interface Endpoint {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (call: Call) => Promise<unknown>;
}

/** JSON over HTTP: coded errors go to the caller as they are. */
export function jsonServer(endpoints: readonly Endpoint[], log: Logger): Server {
  return createServer((incoming, response) => void answer(endpoints, incoming, response, log));
}

async function answer(endpoints: readonly Endpoint[], incoming: IncomingMessage, response: ServerResponse, log: Logger): Promise<void> {
  try {
    const { pathname } = new URL(`http://gateway${incoming.url}`);
    const found = endpoints.find((one) => one.method === incoming.method && one.path.test(pathname));
    if (!found) return end(response, 404, { message: `${incoming.method} ${pathname} is not served` });
    const name = decodeURIComponent(found.path.exec(pathname)?.[1] ?? "");
    const text = await read(incoming);
    end(response, 200, (await found.handle({ name, body: text === "" ? undefined : JSON.parse(text) })) ?? {});
  } catch (error) {
    if (error instanceof IronwrightError) return end(response, 422, { code: error.code, facts: error.facts });
    log.error({ err: error, path: incoming.url }, "a call failed");
    end(response, 500, { message: reasonOf(error) });
  }
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

async function read(from: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY_BYTES) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

export interface CallOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** What to throw when nobody answers. */
  readonly unreachable: (reason: string) => Error;
}

/** Calls a {@link jsonServer}, or one like it, on a Unix socket; its coded errors are the caller's. */
export async function callJson<T>(socketPath: string, method: string, path: string, options: CallOptions): Promise<T> {
  const { body, signal, unreachable } = options;
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const fail = (error: unknown) => reject(signal?.aborted ? signal.reason : unreachable(reasonOf(error)));
    const asking = request({ socketPath, method, path, agent: false, ...(signal ? { signal } : {}) }, (response) => {
      read(response).then((answered) => resolve({ status: response.statusCode ?? 500, text: answered }), fail);
    });
    asking.once("error", fail);
    asking.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const value = parse(text) as T & { code?: Code; facts?: Facts<Code>; message?: string };
  if (status < 300) return value;
  if (value.code && value.facts) throw new IronwrightError(value.code, value.facts);
  throw unreachable(value.message ?? `it answered ${status}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text === "" ? "{}" : text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { IronwrightError, reasonOf } from "../core/errors.ts";

const LARGEST_BODY_BYTES = 1024 * 1024;

export interface Call {
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
}

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (call: Call) => Promise<unknown>;
}

export function route(method: string, path: RegExp, handle: Route["handle"]): Route {
  return { method, path, handle };
}

/** Serves these and nothing else, as JSON; coded errors keep their code. */
export function serving(routes: readonly Route[], log: Logger): RequestListener {
  return (request, response) => void answer(routes, request, response, log);
}

async function answer(routes: readonly Route[], request: IncomingMessage, response: ServerResponse, log: Logger): Promise<void> {
  const hungUp = new AbortController();
  response.once("close", () => hungUp.abort(new Error("the caller hung up")));
  try {
    const url = new URL(`http://supervisor${request.url}`);
    const found = routes.find((one) => one.method === request.method && one.path.test(url.pathname));
    if (!found) return end(response, 404, { message: `${request.method} ${url.pathname} is not served` });
    const name = decodeURIComponent(found.path.exec(url.pathname)?.[1] ?? "");
    const body = await readBody(request);
    end(response, 200, (await found.handle({ name, query: url.searchParams, body, signal: hungUp.signal })) ?? {});
  } catch (error) {
    if (hungUp.signal.aborted) return;
    if (error instanceof IronwrightError) return end(response, 422, { code: error.code, facts: error.facts });
    log.error({ err: error, path: request.url }, "a call failed");
    end(response, 500, { message: reasonOf(error) });
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY_BYTES) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  return size === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

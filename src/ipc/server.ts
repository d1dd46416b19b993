import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { readText } from "./text.ts";

export interface Call {
  /** What the path's group matched. */
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
}

export interface Endpoint {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (call: Call) => Promise<unknown>;
}

export function endpoint(method: string, path: RegExp, handle: Endpoint["handle"]): Endpoint {
  return { method, path, handle };
}

export interface ServingOptions {
  readonly log: Logger;
  /** Of a call's body. */
  readonly largestBytes: number;
}

/** Serves these and nothing else, as JSON; coded errors keep their code. */
export function serving(endpoints: readonly Endpoint[], options: ServingOptions): RequestListener {
  return (request, response) => void answer(endpoints, request, response, options);
}

async function answer(
  endpoints: readonly Endpoint[],
  request: IncomingMessage,
  response: ServerResponse,
  { log, largestBytes }: ServingOptions,
): Promise<void> {
  const hungUp = new AbortController();
  response.once("close", () => hungUp.abort(new Error("the caller hung up")));
  try {
    const { pathname, searchParams: query } = new URL(`http://ironwright${request.url}`);
    const found = endpoints.find((one) => one.method === request.method && one.path.test(pathname));
    if (!found) return end(response, 404, { message: `${request.method} ${pathname} is not served` });
    const name = decodeURIComponent(found.path.exec(pathname)?.[1] ?? "");
    const text = await readText(request, largestBytes);
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    end(response, 200, (await found.handle({ name, query, body, signal: hungUp.signal })) ?? {});
  } catch (error) {
    if (hungUp.signal.aborted) return;
    if (error instanceof IronwrightError) return end(response, 422, { code: error.code, facts: error.facts });
    log.error({ err: error, path: request.url }, "a call failed");
    end(response, 500, { message: reasonOf(error) });
  }
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

import { type Dispatcher, Pool } from "undici";
import { systemClock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Access, Credentials } from "./kubeconfig.ts";
import { type Refusal, readRefusal } from "./status.ts";

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Of the answer; default {@link LARGEST_ANSWER}. */
  readonly largestBytes?: number;
  /** Of refusals with 429 that are an answer and no overload (a disruption budget). */
  readonly final?: (refusal: Refusal) => boolean;
}

export type HttpAnswer = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly refusal: Refusal };

/** HTTP to one apiserver: connections, credentials, and patience with one that is starting or busy. */
export interface Transport {
  readonly server: string;
  /** @throws IRW_KUBE_UNREACHABLE, IRW_KUBE_TOO_LARGE, or the signal's reason */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** A streamed answer's bytes. Silence for `idleMs` ends it with an error. */
  stream(request: HttpRequest, idleMs: number): Promise<AsyncIterable<Uint8Array> | Refusal>;
  close(): Promise<void>;
}

/** A page of 500 pods is some megabytes; an apiserver of a tenant's may send anything. */
export const LARGEST_ANSWER = 64 * 2 ** 20;
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
const TIMEOUT_MS = 60_000;
/** The connection was never made, so nothing of the request arrived: any method may be sent again. */
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOENT", "ENETUNREACH", "EHOSTUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);
/** It may have arrived: only a read is sent again. */
const BROKEN = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "ETIMEDOUT"]);

export function transport(access: Access): Transport {
  const base = new URL(access.server);
  const prefix = base.pathname.replace(/\/$/, "");
  let pool: Promise<Pool> | undefined;
  let closed = false;

  function connected(): Promise<Pool> {
    if (closed) throw new IronwrightError("IRW_KUBE_UNREACHABLE", { server: access.server, reason: "the client is closed" });
    if (!pool) {
      const opening = access.credentials().then(open);
      pool = opening;
      // a plugin that failed once is asked again by the next request
      opening.catch(() => {
        if (pool === opening) pool = undefined;
      });
    }
    return pool;
  }

  function open({ certificate }: Credentials): Pool {
    return new Pool(base.origin, {
      // one connection a watch over HTTP/1.1: a slow reader never holds the others up
      allowH2: false,
      connectTimeout: 10_000,
      keepAliveTimeout: 30_000,
      connect: { ...access.tls, ...certificate, ...(access.socketPath === undefined ? {} : { socketPath: access.socketPath }) },
    });
  }

  async function dispatch(request: HttpRequest, timeouts: { headersMs: number; bodyMs: number }, signal?: AbortSignal) {
    const client = await connected();
    const { authorization } = await access.credentials();
    return client.request({
      method: request.method as Dispatcher.HttpMethod,
      path: prefix + withQuery(request.path, request.query),
      headers: {
        accept: request.accept ?? "application/json",
        "user-agent": "ironwright",
        ...(authorization ? { authorization } : {}),
        ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      headersTimeout: timeouts.headersMs,
      bodyTimeout: timeouts.bodyMs,
      signal: signal ?? null,
    });
  }

  async function once(request: HttpRequest): Promise<HttpAnswer> {
    const timeoutMs = request.timeoutMs ?? TIMEOUT_MS;
    const limit = AbortSignal.timeout(timeoutMs);
    const signal = request.signal ? AbortSignal.any([request.signal, limit]) : limit;
    const answer = await dispatch(request, { headersMs: timeoutMs, bodyMs: timeoutMs }, signal);
    const text = await whole(answer.body, request);
    if (answer.statusCode < 300) return { ok: true, text };
    return { ok: false, refusal: readRefusal(answer.statusCode, text, header(answer.headers["retry-after"])) };
  }

  async function whole(body: AsyncIterable<Buffer>, request: HttpRequest): Promise<string> {
    const { method, path, largestBytes = LARGEST_ANSWER } = request;
    const chunks: Buffer[] = [];
    let bytes = 0;
    // leaving the loop ends the connection
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > largestBytes)
        throw new IronwrightError("IRW_KUBE_TOO_LARGE", { server: access.server, what: `${method} ${path}`, bytes: largestBytes });
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, bytes).toString("utf8");
  }

  function unreachable(error: unknown): IronwrightError {
    if (error instanceof IronwrightError) return error;
    return new IronwrightError("IRW_KUBE_UNREACHABLE", { server: access.server, reason: networkReason(error) }, error);
  }

  return {
    server: access.server,
    async send(request) {
      for (let attempt = 1; ; attempt++) {
        request.signal?.throwIfAborted();
        let waitMs = FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random());
        try {
          const answer = await once(request);
          if (answer.ok || attempt === ATTEMPTS || !isBusy(answer.refusal) || request.final?.(answer.refusal)) return answer;
          waitMs = Math.max(waitMs, answer.refusal.retryAfterMs ?? 0);
        } catch (error) {
          if (request.signal?.aborted) throw request.signal.reason;
          const code = codeOf(error);
          const again = NEVER_SENT.has(code) || (BROKEN.has(code) && request.method === "GET");
          if (!again || attempt === ATTEMPTS) throw unreachable(error);
        }
        await systemClock.sleep(Math.min(waitMs, LONGEST_WAIT_MS), request.signal);
      }
    },

    async stream(request, idleMs) {
      try {
        const answer = await dispatch(request, { headersMs: TIMEOUT_MS, bodyMs: idleMs }, request.signal);
        if (answer.statusCode < 300) return chunks(answer.body);
        return readRefusal(answer.statusCode, await whole(answer.body, request), header(answer.headers["retry-after"]));
      } catch (error) {
        if (request.signal?.aborted) throw request.signal.reason;
        throw unreachable(error);
      }
    },

    async close() {
      closed = true;
      await (await pool?.catch(() => undefined))?.destroy();
    },
  };

  async function* chunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* body;
    } catch (error) {
      throw unreachable(error);
    }
  }
}

/** 429 and 503 were not processed; 500 and 504 with Retry-After are the apiserver's own way to say "later". */
function isBusy({ code, retryAfterMs }: Refusal): boolean {
  return code === 429 || code === 503 || ((code === 500 || code === 504) && retryAfterMs !== undefined);
}

function withQuery(path: string, query: HttpRequest["query"]): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  if (given.length === 0) return path;
  return `${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? "");
}

/** Node's AggregateError of several addresses has no message of its own. */
function networkReason(error: unknown): string {
  const [first] = error instanceof AggregateError ? error.errors : [error];
  return reasonOf(first) || codeOf(error) || "no connection";
}

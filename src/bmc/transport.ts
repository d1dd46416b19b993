import { Agent, buildConnector, type Dispatcher, request } from "undici";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { BmcSpec } from "../core/resources.ts";

/** One HTTP answer of a BMC. */
export interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  readonly location: string | undefined;
  readonly token: string | undefined;
  readonly body: unknown;
}

export interface Transport {
  send(
    method: "GET" | "POST" | "PATCH" | "DELETE",
    path: string,
    headers: Readonly<Record<string, string>>,
    body?: object,
  ): Promise<Answer>;
  close(): Promise<void>;
}

/** An answer takes longer than this only from a BMC that hangs; some need 10 s for a first login. */
export const TIMEOUT_MS = 20_000;
/** A System with all its links is some 20 KiB; a BMC that sends more is broken or hostile. */
const MAX_BODY = 1024 * 1024;
const MAX_DEPTH = 25;

/**
 * HTTP to one BMC: one connection, no redirects, bounded in time, size and depth.
 * @throws IRW_BMC_UNREACHABLE for whatever keeps an answer from coming, IRW_BMC_CERTIFICATE before anything is sent to somebody
 * else, IRW_BMC_ANSWER for an answer that cannot be used
 */
export function createTransport(
  origin: string,
  spec: Pick<BmcSpec, "certificateSha256" | "insecureSkipVerify">,
  timeoutMs: number = TIMEOUT_MS,
): Transport {
  const agent = new Agent({
    connections: 1,
    pipelining: 1,
    connect: connector(origin, spec, timeoutMs),
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  return {
    async send(method, path, headers, body) {
      const unusable = (problem: string) =>
        new IronwrightError("IRW_BMC_ANSWER", { address: origin, request: `${method} ${path}`, problem });
      // links come from the BMC: one to another host would take the credentials there
      const url = URL.canParse(path, origin) ? new URL(path, origin) : undefined;
      if (url?.origin !== new URL(origin).origin) throw unusable("its link leads to another host");
      try {
        const answer = await request(url, {
          method,
          dispatcher: agent,
          headers: { accept: "application/json", ...(body ? { "content-type": "application/json" } : {}), ...headers },
          ...(body ? { body: JSON.stringify(body) } : {}),
          signal: AbortSignal.timeout(timeoutMs),
        });
        const text = await readBounded(answer);
        if (text === undefined) throw unusable(`it is larger than ${MAX_BODY} bytes`);
        const parsed = parseBounded(text);
        // an error may come as a page of HTML; its status says enough
        if ("problem" in parsed && answer.statusCode < 300) throw unusable(parsed.problem);
        return {
          status: answer.statusCode,
          etag: one(answer.headers.etag),
          location: one(answer.headers.location),
          token: one(answer.headers["x-auth-token"]),
          body: "value" in parsed ? parsed.value : undefined,
        };
      } catch (error) {
        const coded = [error, error instanceof Error ? error.cause : undefined].find((one) => one instanceof IronwrightError);
        if (coded) throw coded;
        throw new IronwrightError("IRW_BMC_UNREACHABLE", { address: origin, reason: causeOf(error) }, error);
      }
    },
    close: () => agent.destroy(),
  };
}

/** BMCs sign their own certificates: a pinned fingerprint says more than any CA would. */
function connector(
  origin: string,
  spec: Pick<BmcSpec, "certificateSha256" | "insecureSkipVerify">,
  timeout: number,
): buildConnector.connector {
  const pinned = spec.certificateSha256?.replaceAll(":", "").toLowerCase();
  // no session cache: a resumed TLS session shows no certificate to compare
  const connect = buildConnector({ rejectUnauthorized: !pinned && !spec.insecureSkipVerify, timeout, maxCachedSessions: 0 });
  if (!pinned) return connect;
  return (options, callback) =>
    connect(options, (...result) => {
      const [error, socket] = result;
      if (error || !socket) return callback(...result);
      // without TLS there is none to compare, and nothing is sent either
      const certificate = "getPeerCertificate" in socket ? socket.getPeerCertificate() : undefined;
      const shown = certificate?.fingerprint256?.replaceAll(":", "").toLowerCase() ?? "none";
      if (shown === pinned) return callback(...result);
      socket.destroy();
      callback(new IronwrightError("IRW_BMC_CERTIFICATE", { address: origin, want: pinned, got: shown }), null);
    });
}

/** Undefined when there is too much of it. */
async function readBounded(answer: Dispatcher.ResponseData): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Depth is checked before parsing: a deep enough array ends a recursive parser, or whoever walks the value. */
function parseBounded(text: string): { readonly value: unknown } | { readonly problem: string } {
  if (text.trim() === "") return { value: undefined };
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (inString) {
      if (letter === "\\") at += 1;
      else if (letter === '"') inString = false;
    } else if (letter === '"') inString = true;
    else if (letter === "{" || letter === "[") {
      depth += 1;
      if (depth > MAX_DEPTH) return { problem: `it is nested deeper than ${MAX_DEPTH}` };
    } else if (letter === "}" || letter === "]") depth -= 1;
  }
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { problem: "it is not JSON" };
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

function causeOf(error: unknown): string {
  const inner = error instanceof Error && error.cause ? error.cause : error;
  return reasonOf(inner) || String(inner);
}

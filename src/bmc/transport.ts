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

const TIMEOUT_MS = 20_000;
/** A System with all its links is some 20 KiB; a BMC that sends more is broken or hostile. */
const MAX_BODY = 1024 * 1024;
const MAX_DEPTH = 25;

/**
 * HTTP to one BMC: one connection, no redirects, bounded in time, size and depth.
 * @throws IRW_BMC_UNREACHABLE for whatever keeps an answer from coming
 */
export function createTransport(origin: string, spec: Pick<BmcSpec, "certificateSha256" | "insecureSkipVerify">): Transport {
  const agent = new Agent({ connections: 1, pipelining: 1, connect: connector(spec), headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  return {
    async send(method, path, headers, body) {
      try {
        const answer = await request(new URL(path, origin), {
          method,
          dispatcher: agent,
          headers: { accept: "application/json", ...(body ? { "content-type": "application/json" } : {}), ...headers },
          ...(body ? { body: JSON.stringify(body) } : {}),
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        return {
          status: answer.statusCode,
          etag: one(answer.headers.etag),
          location: one(answer.headers.location),
          token: one(answer.headers["x-auth-token"]),
          body: parseBounded(await readBounded(answer)),
        };
      } catch (error) {
        throw new IronwrightError("IRW_BMC_UNREACHABLE", { address: origin, reason: causeOf(error) }, error);
      }
    },
    close: () => agent.destroy(),
  };
}

/** BMCs sign their own certificates: a pinned fingerprint says more than any CA would. */
function connector(spec: Pick<BmcSpec, "certificateSha256" | "insecureSkipVerify">): buildConnector.connector {
  const pinned = spec.certificateSha256?.replaceAll(":", "").toLowerCase();
  const connect = buildConnector({ rejectUnauthorized: !pinned && !spec.insecureSkipVerify, timeout: TIMEOUT_MS });
  if (!pinned) return connect;
  return (options, callback) =>
    connect(options, (...result) => {
      const [error, socket] = result;
      if (error || !socket || !("getPeerCertificate" in socket)) return callback(...result);
      const shown = socket.getPeerCertificate().fingerprint256?.replaceAll(":", "").toLowerCase() ?? "none";
      if (shown === pinned) return callback(...result);
      socket.destroy();
      callback(new Error(`its certificate has sha256 ${shown}, pinned is ${pinned}`), null);
    });
}

async function readBounded(answer: Dispatcher.ResponseData): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error(`its answer is larger than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Depth is checked before parsing: a deep enough array ends a recursive parser, or whoever walks the value. */
function parseBounded(text: string): unknown {
  if (text.trim() === "") return undefined;
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
      if (depth > MAX_DEPTH) throw new Error(`its answer is nested deeper than ${MAX_DEPTH}`);
    } else if (letter === "}" || letter === "]") depth -= 1;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("its answer is not JSON");
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

function causeOf(error: unknown): string {
  const inner = error instanceof Error && error.cause ? error.cause : error;
  return reasonOf(inner) || String(inner);
}

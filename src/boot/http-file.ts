import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";

/** How the sending of a file ended: how much of what was asked arrived. */
export interface Sent {
  readonly bytes: number;
  readonly of: number;
}

export type Range = { readonly from: number; readonly to: number } | "whole" | "unsatisfiable";

/** RFC 9110 §14.2 for one range; several are answered with the whole file, as the RFC allows. */
export function readRange(header: string | undefined, size: number): Range {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (!match) return "whole";
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return "whole";
  if (first === "") return Number(last) === 0 || size === 0 ? "unsatisfiable" : { from: Math.max(0, size - Number(last)), to: size - 1 };
  const to = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (Number(first) >= size) return "unsatisfiable";
  return Number(first) > to ? "whole" : { from: Number(first), to };
}

/** Streams a file, a range of it, or only says how long it is. Undefined when there is no such file. */
export async function sendFile(request: IncomingMessage, response: ServerResponse, path: string): Promise<Sent | undefined> {
  const file = await open(path).catch(() => undefined);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const range = readRange(request.headers.range, size);
    response.setHeader("accept-ranges", "bytes");
    response.setHeader("content-type", "application/octet-stream");
    if (range === "unsatisfiable") {
      response.writeHead(416, { "content-range": `bytes */${size}` }).end();
      return { bytes: 0, of: 0 };
    }
    const { from, to } = range === "whole" ? { from: 0, to: size - 1 } : range;
    const length = to - from + 1;
    if (range === "whole") response.writeHead(200, { "content-length": length });
    else response.writeHead(206, { "content-length": length, "content-range": `bytes ${from}-${to}/${size}` });
    if (request.method === "HEAD" || length === 0) {
      response.end();
      return { bytes: 0, of: 0 };
    }
    const stream = createReadStream(path, { fd: file.fd, autoClose: false, start: from, end: to, highWaterMark: 256 * 1024 });
    // a client that hangs up ends the pipeline with an error; how far it came is told below
    await pipeline(stream, response).catch(() => {});
    return { bytes: stream.bytesRead, of: length };
  } finally {
    await file.close();
  }
}

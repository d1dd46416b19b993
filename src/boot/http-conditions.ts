import type { IncomingHttpHeaders } from "node:http";
import type { BootFile } from "./boot-files.ts";

export type Range = { readonly from: number; readonly to: number } | "whole" | "unsatisfiable";

/** RFC 9110 §14.2 for one range; several are answered with the whole file, as the RFC allows. */
export function readRange(header: string | undefined, size: number): Range {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (!match) return "whole";
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return "whole";
  if (first === "") return Number(last) === 0 || size === 0 ? "unsatisfiable" : { from: Math.max(0, size - Number(last)), to: size - 1 };
  const to = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(first) > Number(last)) return "whole";
  return Number(first) >= size ? "unsatisfiable" : { from: Number(first), to };
}

export interface FileAnswer {
  readonly status: 200 | 206 | 304 | 412 | 416;
  readonly headers: Readonly<Record<string, string | number>>;
  /** What of the file is the body. */
  readonly offset: number;
  readonly length: number;
}

/** Strong: another content has another one. */
export function entityTag(file: Pick<BootFile, "version">): string {
  return `"${file.version}"`;
}

/** What a request for a file is answered, in the order of RFC 9110 §13.2.2. `HEAD` gets the same without the body. */
export function fileAnswer(asked: IncomingHttpHeaders, file: BootFile): FileAnswer {
  const tag = entityTag(file);
  // a header's date has seconds
  const changed = Math.floor(file.modified.getTime() / 1000) * 1000;
  const headers = { etag: tag, "last-modified": new Date(changed).toUTCString(), "accept-ranges": "bytes" };
  const nothing = (status: 304 | 412 | 416, more = {}) => ({ status, headers: { ...headers, ...more }, offset: 0, length: 0 });

  if (asked["if-match"] !== undefined) {
    if (!names(asked["if-match"], tag, false)) return nothing(412, { "content-length": 0 });
  } else if (changed > dateOf(asked["if-unmodified-since"], Number.POSITIVE_INFINITY)) {
    return nothing(412, { "content-length": 0 });
  }
  if (asked["if-none-match"] !== undefined) {
    if (names(asked["if-none-match"], tag, true)) return nothing(304);
  } else if (changed <= dateOf(asked["if-modified-since"], Number.NEGATIVE_INFINITY)) {
    return nothing(304);
  }
  const range = rangeStands(asked["if-range"]?.toString(), tag, changed) ? readRange(asked.range, file.size) : "whole";
  if (range === "unsatisfiable") return nothing(416, { "content-range": `bytes */${file.size}`, "content-length": 0 });
  const type = { "content-type": "application/octet-stream" };
  if (range === "whole") {
    return { status: 200, headers: { ...headers, ...type, "content-length": file.size }, offset: 0, length: file.size };
  }
  const length = range.to - range.from + 1;
  const part = { "content-length": length, "content-range": `bytes ${range.from}-${range.to}/${file.size}` };
  return { status: 206, headers: { ...headers, ...type, ...part }, offset: range.from, length };
}

/** `If-Range` compares strongly; a date only stands when it is the very one (RFC 9110 §13.1.5). */
function rangeStands(ifRange: string | undefined, tag: string, changed: number): boolean {
  if (ifRange === undefined) return true;
  return ifRange.startsWith('"') || ifRange.startsWith("W/") ? ifRange.trim() === tag : dateOf(ifRange, Number.NaN) === changed;
}

/** Whether a list of entity tags, or `*`, names this one. */
function names(list: string, tag: string, weakly: boolean): boolean {
  return list.split(",").some((one) => {
    const plain = one.trim();
    return plain === "*" || plain === tag || (weakly && plain === `W/${tag}`);
  });
}

/** Milliseconds; a header that is no date counts as absent. */
function dateOf(header: string | undefined, absent: number): number {
  const at = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(at) ? absent : at;
}

import { createHash } from "node:crypto";
import { createWriteStream, rmSync } from "node:fs";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

const REDIRECTS_MAX = 5;

/**
 * @typedef {object} Limits
 * @property {readonly string[]} hosts where redirects may lead besides the host asked
 * @property {number} maxBytes
 * @property {number} timeoutMs
 * @property {AbortSignal} signal
 */

/**
 * A small text, e.g. a checksum.
 * @param {string} url
 * @param {Limits} limits
 */
export async function fetchText(url, limits) {
  const signal = AbortSignal.any([limits.signal, AbortSignal.timeout(limits.timeoutMs)]);
  const response = await follow(url, limits.hosts, signal);
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of body(response, url)) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > limits.maxBytes) throw new Error(`${url} is larger than ${limits.maxBytes} bytes`);
  }
  return text;
}

/**
 * A file whose sha256 is known. On any failure there is no file.
 * @param {string} url
 * @param {{ to: string, sha256: string, mode?: number, progress?: (bytes: number) => void } & Limits} options
 */
export async function download(url, { to, sha256, mode = 0o755, progress, hosts, maxBytes, timeoutMs, signal: interruption }) {
  const signal = AbortSignal.any([interruption, AbortSignal.timeout(timeoutMs)]);
  const response = await follow(url, hosts, signal);
  const hash = createHash("sha256");
  let bytes = 0;
  const measure = new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      progress?.(bytes);
      done(bytes > maxBytes ? new Error(`${url} is larger than ${maxBytes} bytes`) : null, chunk);
    },
  });
  try {
    await pipeline(Readable.from(body(response, url)), measure, createWriteStream(to, { mode }), { signal });
    const got = hash.digest("hex");
    if (got !== sha256) throw new Error(`${url} has sha256 ${got}, not ${sha256}`);
  } catch (error) {
    rmSync(to, { force: true });
    throw error;
  }
}

/**
 * Redirects by hand: only to hosts that are listed, never from https to http.
 * @param {string} url
 * @param {readonly string[]} hosts
 * @param {AbortSignal} signal
 */
async function follow(url, hosts, signal) {
  const start = new URL(url);
  let at = start;
  for (let hops = 0; hops <= REDIRECTS_MAX; hops++) {
    const response = await fetch(at, { redirect: "manual", signal });
    const location = response.headers.get("location");
    if (response.ok) return response;
    await response.body?.cancel();
    if (response.status < 300 || response.status > 399 || !location) throw new Error(`${at} answered ${response.status}`);
    const next = new URL(location, at);
    if (next.host !== start.host && !hosts.includes(next.host)) throw new Error(`${at} redirects to ${next.host}, which is not followed`);
    if (at.protocol === "https:" && next.protocol !== "https:")
      throw new Error(`${at} redirects to ${next.protocol}, which is not followed`);
    at = next;
  }
  throw new Error(`${url} redirects more than ${REDIRECTS_MAX} times`);
}

/**
 * @param {Response} response
 * @param {string} url
 * @returns {AsyncIterable<Uint8Array>}
 */
function body(response, url) {
  if (!response.body) throw new Error(`${url} answered with nothing`);
  return /** @type {any} */ (response.body);
}

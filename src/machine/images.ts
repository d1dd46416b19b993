import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import type { Clock } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { OSImage } from "../core/resources.ts";
import type { Logger } from "../observe/index.ts";

/** OS images as files on this host, for the boot plane to serve. */
export interface Images {
  /**
   * The image's packed file. A `file:` URL is that file, whose digest the machine checks as it writes; anything else is
   * fetched once, checked, and kept by digest.
   * @throws IRW_DOWNLOAD, IRW_IMAGE_DIGEST
   */
  file(image: OSImage, signal: AbortSignal): Promise<string>;
}

const DOWNLOAD_MS = 30 * 60_000;
const DOWNLOAD_LIMIT = 32 * 2 ** 30;
const REDIRECTS = 5;

export interface ImageStoreOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: Logger;
  readonly limits?: { readonly ms: number; readonly bytes: number };
}

/** One download, for all who wait for it. */
interface Download {
  readonly path: Promise<string>;
  readonly stop: AbortController;
  waiting: number;
}

export function imageStore({ dir, clock, random, log, limits = { ms: DOWNLOAD_MS, bytes: DOWNLOAD_LIMIT } }: ImageStoreOptions): Images {
  const underWay = new Map<string, Download>();

  async function fetched(url: string, sha256: string, stop: AbortController): Promise<string> {
    const path = join(dir, sha256);
    if (await exists(path)) return path;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await clearAway(`${sha256}.`);
    // a name of its own: another daemon, or a download that is just ending, may write the same image
    const temporary = `${path}.${random(8).toString("hex")}.part`;
    const done = new AbortController();
    clock.sleep(limits.ms, done.signal).then(
      () => stop.abort(new Error(`it took longer than ${formatDuration(limits.ms)}`)),
      () => {},
    );
    try {
      log.info({ url }, "fetching an OS image");
      const got = await download(url, temporary, limits.bytes, stop.signal);
      if (got !== sha256) throw new IronwrightError("IRW_IMAGE_DIGEST", { url, want: sha256, got });
      await rename(temporary, path);
      return path;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error instanceof IronwrightError ? error : new IronwrightError("IRW_DOWNLOAD", { url, reason: reasonOf(error) }, error);
    } finally {
      done.abort();
    }
  }

  /** What a killed daemon left: nobody writes to a part that is older than any download may be. */
  async function clearAway(prefix: string): Promise<void> {
    for (const name of await readdir(dir)) {
      if (!name.startsWith(prefix) || !name.endsWith(".part")) continue;
      const found = await stat(join(dir, name)).catch(() => undefined);
      if (found && clock.now().getTime() - found.mtimeMs > limits.ms) await rm(join(dir, name), { force: true });
    }
  }

  /** Two machines that want the same image wait for one download, which ends when nobody waits any more. */
  async function shared(url: string, sha256: string, signal: AbortSignal): Promise<string> {
    const one = underWay.get(sha256) ?? begin(url, sha256);
    one.waiting += 1;
    const given = Promise.withResolvers<never>();
    const giveUp = () => given.reject(signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await Promise.race([one.path, given.promise]);
    } finally {
      signal.removeEventListener("abort", giveUp);
      one.waiting -= 1;
      if (one.waiting === 0) {
        if (underWay.get(sha256) === one) underWay.delete(sha256);
        one.stop.abort(new Error("nobody waits for it any more"));
      }
    }
  }

  function begin(url: string, sha256: string): Download {
    const stop = new AbortController();
    const one: Download = { path: fetched(url, sha256, stop), stop, waiting: 0 };
    // whoever waits is told; when nobody does, nobody asks
    one.path.catch(() => {});
    underWay.set(sha256, one);
    return one;
  }

  return {
    async file({ spec: { url, sha256 } }, signal) {
      signal.throwIfAborted();
      if (!url.startsWith("file:")) return shared(url, sha256, signal);
      const path = fileURLToPath(url);
      if (!(await exists(path))) throw new IronwrightError("IRW_DOWNLOAD", { url, reason: "there is no such file on this host" });
      return path;
    },
  };
}

/** @returns the sha256 of what was written */
async function download(url: string, path: string, limit: number, signal: AbortSignal): Promise<string> {
  const response = await follow(new URL(url), signal);
  if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`);
  if (Number(response.headers.get("content-length") ?? 0) > limit) throw new Error(`it has more than ${limit} bytes`);
  const hash = createHash("sha256");
  let size = 0;
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      hash.update(chunk);
      done(size > limit ? new Error(`it has more than ${limit} bytes`) : null, chunk);
    },
  });
  await pipeline(Readable.fromWeb(response.body), measured, createWriteStream(path, { mode: 0o600 }), { signal });
  return hash.digest("hex");
}

/** Follows redirects on the same host alone. */
async function follow(url: URL, signal: AbortSignal): Promise<Response> {
  let at = url;
  for (let left = REDIRECTS; left >= 0; left -= 1) {
    const response = await fetch(at, { redirect: "manual", signal });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || !location) return response;
    await response.body?.cancel();
    const to = new URL(location, at);
    if (to.host !== url.host || to.protocol !== url.protocol) throw new Error(`it redirects to another host, ${to.host}`);
    at = to;
  }
  throw new Error(`more than ${REDIRECTS} redirects`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
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

export function imageStore(options: { readonly dir: string; readonly log: Logger }): Images {
  const underWay = new Map<string, Promise<string>>();

  async function fetched(url: string, sha256: string): Promise<string> {
    const path = join(options.dir, sha256);
    if (await exists(path)) return path;
    await mkdir(options.dir, { recursive: true, mode: 0o700 });
    const temporary = `${path}.part`;
    try {
      options.log.info({ url }, "fetching an OS image");
      const got = await download(url, temporary, AbortSignal.timeout(DOWNLOAD_MS));
      if (got !== sha256) throw new IronwrightError("IRW_IMAGE_DIGEST", { url, want: sha256, got });
      await rename(temporary, path);
      return path;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error instanceof IronwrightError ? error : new IronwrightError("IRW_DOWNLOAD", { url, reason: reasonOf(error) }, error);
    }
  }

  return {
    async file({ spec: { url, sha256 } }, signal) {
      signal.throwIfAborted();
      if (url.startsWith("file:")) {
        const path = fileURLToPath(url);
        if (!(await exists(path))) throw new IronwrightError("IRW_DOWNLOAD", { url, reason: "there is no such file on this host" });
        return path;
      }
      // two machines that want the same image wait for one download
      const running = underWay.get(sha256) ?? fetched(url, sha256).finally(() => underWay.delete(sha256));
      underWay.set(sha256, running);
      return running;
    },
  };
}

/** @returns the sha256 of what was written */
async function download(url: string, path: string, signal: AbortSignal): Promise<string> {
  const response = await follow(new URL(url), signal);
  if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`);
  if (Number(response.headers.get("content-length") ?? 0) > DOWNLOAD_LIMIT) throw new Error(`it has more than ${DOWNLOAD_LIMIT} bytes`);
  const hash = createHash("sha256");
  let size = 0;
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      hash.update(chunk);
      done(size > DOWNLOAD_LIMIT ? new Error(`it has more than ${DOWNLOAD_LIMIT} bytes`) : null, chunk);
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

import { lstatSync, rmSync } from "node:fs";
import { Server as HttpServer } from "node:http";
import type { ListenOptions, Server } from "node:net";
import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { reasonOf } from "../../core/errors.ts";

/** A listener that is tried again until it can listen. */
export interface Listening {
  /** Resolves after the first try. @throws why it does not listen now */
  ready(): Promise<void>;
  /** Why nobody can come in now. */
  problem(): string | undefined;
  /** The port, once it listens on one. */
  port(): number | undefined;
  close(): Promise<void>;
}

const AGAIN_MS = 1_000;
const BACKLOG = 511;

/** Listens on a port, or on a Unix socket that its owner and its group can connect to. */
export function keepListening(
  make: () => Server,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Listening {
  const ending = new AbortController();
  const name = "path" in where ? where.path : `${where.host}:${where.port}`;
  let server: Server | undefined;
  let problem: string | undefined;

  async function tryOnce(): Promise<void> {
    const fresh = make();
    try {
      await listen(fresh, { ...where, backlog: BACKLOG });
    } catch (error) {
      if (problem === undefined) log.warn({ at: name, reason: reasonOf(error) }, "cannot be listened on");
      problem = `${name}: ${reasonOf(error)}`;
      throw error;
    }
    if (ending.signal.aborted) return void fresh.close();
    if (problem !== undefined) log.info({ at: name }, "is listened on now");
    [server, problem] = [fresh, undefined];
  }

  async function goOn(): Promise<void> {
    while (!ending.signal.aborted) {
      await clock.sleep(AGAIN_MS, ending.signal).catch(() => {});
      if (ending.signal.aborted) return;
      const done = await tryOnce().then(
        () => true,
        () => false,
      );
      if (done) return;
    }
  }

  const first = tryOnce();
  const later = first.catch(goOn);
  return {
    async ready() {
      await first.catch(() => {});
      if (problem !== undefined) throw new Error(problem);
    },
    problem: () => problem,
    port() {
      const address = server?.address();
      return typeof address === "object" ? address?.port : undefined;
    },
    async close() {
      ending.abort(new Error("not listened on any more"));
      const open = server;
      const closed = open && new Promise<void>((resolve) => open.close(() => resolve()));
      // those who have not asked for anything yet are not counted anywhere else
      if (open instanceof HttpServer) open.closeAllConnections();
      await Promise.all([later, closed]);
      if ("path" in where) removeSocket(where.path);
    },
  };
}

async function listen(server: Server, options: ListenOptions): Promise<void> {
  if (options.path !== undefined) removeSocket(options.path);
  // the socket is made within the call
  const before = options.path === undefined ? undefined : process.umask(0o117);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options, () => {
        server.off("error", reject);
        // no descriptor is left, say: whoever came is told by the missing answer
        server.on("error", () => {});
        resolve();
      });
      if (before !== undefined) process.umask(before);
    });
  } finally {
    if (before !== undefined) process.umask(before);
  }
}

/** What an earlier process left; a file that is no socket is not ours. */
function removeSocket(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isSocket()) rmSync(path, { force: true });
}

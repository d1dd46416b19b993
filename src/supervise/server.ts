import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { type Child, type ChildRecord, superviseChild } from "./child.ts";
import { takeLock } from "./lock.ts";
import { rotateLog, tailLog } from "./log-file.ts";
import { parseSpec } from "./spec.ts";
import type { ChildSpec } from "./supervisor.ts";

const ROTATE_EVERY_MS = 10_000;
const LARGEST_BODY_BYTES = 1024 * 1024;
/** sun_path of unix(7), less the final zero. */
const LONGEST_SOCKET_PATH = 107;

export interface SuperviseOptions {
  /** The data directory: records in `children/`, the lock in `run/`. */
  readonly dir: string;
  readonly socket: string;
  readonly log: Logger;
}

/**
 * Runs the supervisor until SIGTERM or SIGINT, which leave its children running, or until it is told to shut down,
 * which stops them all. One a data directory: a second one ends at once.
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { dir, socket, log } = options;
  if (Buffer.byteLength(socket) > LONGEST_SOCKET_PATH)
    throw new IronwrightError("IRW_SUPERVISOR_UNREACHABLE", { socket, reason: `the path is longer than ${LONGEST_SOCKET_PATH} bytes` });
  const lock = takeLock(join(dir, "run", "supervisor.lock"));
  if (!lock) {
    log.info({ dir }, "another supervisor runs for this directory");
    return;
  }
  try {
    await serveChildren(options, systemClock);
  } finally {
    lock.release();
  }
}

async function serveChildren({ dir, socket, log }: SuperviseOptions, clock: Clock): Promise<void> {
  const records = join(dir, "children");
  const ending = new AbortController();
  const children = new Map<string, Child>();
  /** Removals under way: a name is given anew only when its old child is gone. */
  const removals = new Map<string, Promise<void>>();
  for (const record of readRecords(records, log)) children.set(record.spec.name, childOf(record));
  await Promise.all([...children.values()].map((child) => child.resume()));

  function childOf(record: ChildRecord): Child {
    return superviseChild(record, { file: join(records, `${record.spec.name}.json`), clock, log });
  }

  function known(name: string): Child {
    const child = children.get(name);
    if (!child) throw new IronwrightError("IRW_CHILD_INVALID", { child: name, problem: "there is no such child" });
    return child;
  }

  async function ensure(spec: ChildSpec): Promise<void> {
    await removed(spec.name);
    let child = children.get(spec.name);
    if (!child) {
      child = childOf({ spec, wanted: "stopped", restarts: 0 });
      children.set(spec.name, child);
    }
    await child.ensure(spec);
  }

  async function remove(name: string): Promise<void> {
    await removed(name);
    const child = children.get(name);
    if (!child) return;
    const removal = child
      .remove()
      .then(() => void children.delete(name))
      .finally(() => removals.delete(name));
    removals.set(name, removal);
    await removal;
  }

  async function stop(name: string): Promise<void> {
    await removed(name);
    await known(name).stop();
  }

  async function removed(name: string): Promise<void> {
    while (removals.has(name)) await removals.get(name)?.catch(() => {});
  }

  /** Newest first: what was started later leans on what was there before. */
  async function stopAll(): Promise<void> {
    const newestFirst = [...children.values()].sort((a, b) => (b.status().startedAt ?? "").localeCompare(a.status().startedAt ?? ""));
    for (const child of newestFirst) await child.stop();
  }

  const routes: readonly Route[] = [
    route("GET", /^\/$/, async () => ({ pid: process.pid, dir })),
    route("GET", /^\/children$/, async () => [...children.values()].map((child) => child.status())),
    route("PUT", /^\/children\/([^/]+)$/, async ({ body }) => ensure(parseSpec(body))),
    route("DELETE", /^\/children\/([^/]+)$/, async ({ name }) => remove(name)),
    route("POST", /^\/children\/([^/]+)\/stop$/, async ({ name }) => stop(name)),
    route("GET", /^\/children\/([^/]+)\/ready$/, async ({ name, query, signal }) =>
      known(name).waitReady(Number(query.get("timeoutMs") ?? 0), AbortSignal.any([signal, ending.signal])),
    ),
    route("GET", /^\/children\/([^/]+)\/log$/, async ({ name, query }) =>
      tailLog(known(name).status().logFile, Number(query.get("lines") ?? 20)),
    ),
    route("POST", /^\/shutdown$/, async () => {
      await stopAll();
      ending.abort(new Error("the supervisor is ending"));
      return { pid: process.pid };
    }),
  ];

  const server = createServer((request, response) => void answer(routes, request, response, log));
  // waiting for a child to become ready may take minutes
  server.requestTimeout = 0;
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  // we hold the lock, so whoever made this is gone
  rmSync(socket, { force: true });
  await listenPrivately(server, socket);
  log.info({ socket, children: children.size }, "supervising");

  const leave = () => ending.abort(new Error("the supervisor is ending"));
  process.on("SIGTERM", leave);
  process.on("SIGINT", leave);
  const rotating = rotateNowAndThen(children, clock, ending.signal, log);
  await new Promise<void>((resolve) => ending.signal.addEventListener("abort", () => resolve(), { once: true }));
  process.off("SIGTERM", leave);
  process.off("SIGINT", leave);
  for (const child of children.values()) child.release();
  await rotating;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  if (existsSync(socket)) rmSync(socket, { force: true });
  log.info("supervisor ends");
}

function readRecords(dir: string, log: Logger): ChildRecord[] {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return readdirSync(dir)
    .filter((file) => file.endsWith(".json"))
    .flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(join(dir, file), "utf8")) as ChildRecord];
      } catch (error) {
        log.error({ file, reason: reasonOf(error) }, "the record of a child cannot be read; the child is not taken over");
        return [];
      }
    });
}

/** The socket is ours alone from its first moment on. */
async function listenPrivately(server: ReturnType<typeof createServer>, socket: string): Promise<void> {
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socket, resolve);
    });
  } finally {
    process.umask(before);
  }
}

async function rotateNowAndThen(children: ReadonlyMap<string, Child>, clock: Clock, signal: AbortSignal, log: Logger): Promise<void> {
  while (!signal.aborted) {
    for (const child of children.values()) {
      try {
        rotateLog(child.status().logFile);
      } catch (error) {
        log.warn({ child: child.name, reason: reasonOf(error) }, "its log could not be rotated");
      }
    }
    await clock.sleep(ROTATE_EVERY_MS, signal).catch(() => {});
  }
}

// ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Call {
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
}

interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (call: Call) => Promise<unknown>;
}

function route(method: string, path: RegExp, handle: Route["handle"]): Route {
  return { method, path, handle };
}

async function answer(routes: readonly Route[], request: IncomingMessage, response: ServerResponse, log: Logger): Promise<void> {
  const hungUp = new AbortController();
  response.once("close", () => hungUp.abort(new Error("the caller hung up")));
  try {
    const url = new URL(`http://supervisor${request.url}`);
    const found = routes.find((one) => one.method === request.method && one.path.test(url.pathname));
    if (!found) return end(response, 404, { message: `${request.method} ${url.pathname} is not served` });
    const name = decodeURIComponent(found.path.exec(url.pathname)?.[1] ?? "");
    const body = await readBody(request);
    end(response, 200, (await found.handle({ name, query: url.searchParams, body, signal: hungUp.signal })) ?? {});
  } catch (error) {
    if (hungUp.signal.aborted) return;
    if (error instanceof IronwrightError) return end(response, 422, { code: error.code, facts: error.facts });
    log.error({ err: error, path: request.url }, "a call failed");
    end(response, 500, { message: reasonOf(error) });
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY_BYTES) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  return size === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

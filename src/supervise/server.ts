import { chmodSync, chownSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { z } from "zod";
import { type Clock, systemClock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { fitsSocket, LONGEST_SOCKET_PATH } from "../core/unix-socket.ts";
import { type Endpoint, endpoint, serving } from "../ipc/index.ts";
import { cellKeeper } from "./cells.ts";
import { type Child, superviseChild } from "./child.ts";
import { takeLock } from "./lock.ts";
import { rotateLog, tailLog } from "./log-file.ts";
import { type ChildRecord, readRecords, settled } from "./record.ts";
import { parseSpec } from "./spec.ts";
import type { ChildSpec, SwapWanted } from "./supervisor.ts";
import { swapKeeper } from "./swap.ts";

const ROTATE_EVERY_MS = 10_000;

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
  if (!fitsSocket(socket))
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
  const swap = swapKeeper(dir, log);
  const cells = cellKeeper(() => children.values(), { dir, clock, log, swap });
  await swap.resume();
  for (const record of settled(readRecords(records, log))) children.set(record.spec.name, childOf(record));
  // all that run are known before the first one is started: whoever starts joins the network of one that runs
  for (const child of children.values()) child.find();
  await Promise.all([...children.values()].map((child) => child.resume()));
  cells.resume();

  function childOf(record: ChildRecord): Child {
    const { name } = record.spec;
    return superviseChild(record, {
      file: join(records, `${name}.json`),
      siblings: () => siblingsOf(name).map((child) => ({ process: child.process() })),
      clock,
      log,
    });
  }

  function siblingsOf(name: string): readonly Child[] {
    const cell = children.get(name)?.spec().cell?.name;
    return [...children.values()].filter((child) => child.name !== name && cell !== undefined && child.spec().cell?.name === cell);
  }

  /** What comes into a cell that sleeps sleeps as well. */
  function restOf(cell: string | undefined): Pick<ChildRecord, "rest"> {
    const others = [...children.values()].filter((child) => cell !== undefined && child.spec().cell?.name === cell);
    return others.length > 0 && others.every((child) => child.isResting()) ? { rest: "stopped" } : {};
  }

  /** All, when none is named. */
  function named(names: readonly string[]): readonly Child[] {
    return names.length === 0 ? [...children.values()] : names.flatMap((name) => children.get(name) ?? []);
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
      child = childOf({ spec, wanted: "stopped", restarts: 0, ...restOf(spec.cell?.name) });
      children.set(spec.name, child);
    }
    await child.ensure(spec);
    shareWakeSocket();
  }

  async function remove(name: string): Promise<void> {
    await removed(name);
    const child = children.get(name);
    if (!child) return;
    const { cell } = child.spec();
    const removal = (cell ? cells.alone(cell.name, () => removeNow(child)) : removeNow(child)).finally(() => removals.delete(name));
    removals.set(name, removal);
    await removal;
  }

  async function removeNow(child: Child): Promise<void> {
    const { cell } = child.spec();
    if (cell && siblingsOf(child.name).length === 0) {
      // the cell goes with the last one in it
      await child.stop();
      await cells.removeGroup(cell);
    }
    await child.remove();
    children.delete(child.name);
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
    cells.close();
    for (const child of newestFirst) {
      const { cell } = child.spec();
      const end = () => child.stop({ resting: true });
      await (cell ? cells.alone(cell.name, end) : end());
    }
    const places = new Map(newestFirst.flatMap((child) => child.spec().cell ?? []).map((place) => [place.name, place]));
    for (const place of places.values())
      await cells
        .alone(place.name, () => cells.removeGroup(place))
        .catch((error: unknown) => log.warn({ cell: place.name, reason: reasonOf(error) }, "its cgroup stays"));
    await swap.release().catch((error: unknown) => log.warn({ reason: reasonOf(error) }, "swap stays on"));
  }

  const cellEndpoints: readonly Endpoint[] = [
    endpoint("GET", /^\/cells\/([^/]+)$/, async ({ name }) => cells.status(name)),
    endpoint("POST", /^\/cells\/([^/]+)\/wake$/, async ({ name, query }) => cells.wake(name, Number(query.get("thawMs")) || undefined)),
  ];
  const endpoints: readonly Endpoint[] = [
    endpoint("GET", /^\/$/, async () => ({ pid: process.pid, dir })),
    endpoint("GET", /^\/children$/, async ({ query }) => named(query.getAll("name")).map((child) => child.status())),
    endpoint("PUT", /^\/children\/([^/]+)$/, async ({ body }) => ensure(parseSpec(body))),
    endpoint("DELETE", /^\/children\/([^/]+)$/, async ({ name }) => remove(name)),
    endpoint("POST", /^\/children\/([^/]+)\/stop$/, async ({ name }) => stop(name)),
    endpoint("GET", /^\/children\/([^/]+)\/ready$/, async ({ name, query, signal }) =>
      known(name).waitReady(Number(query.get("timeoutMs") ?? 0), AbortSignal.any([signal, ending.signal])),
    ),
    endpoint("GET", /^\/children\/([^/]+)\/log$/, async ({ name, query }) =>
      tailLog(known(name).status().logFile, Number(query.get("lines") ?? 20)),
    ),
    endpoint("GET", /^\/cells$/, async () => cells.list()),
    endpoint("GET", /^\/cell-states$/, async () => cells.states()),
    ...cellEndpoints,
    endpoint("POST", /^\/cells\/([^/]+)\/freeze$/, async ({ name, query }) => cells.freeze(name, query.has("encrypted"))),
    endpoint("POST", /^\/cells\/([^/]+)\/stop$/, async ({ name }) => cells.stop(name)),
    endpoint("GET", /^\/swap$/, async () => swap.status()),
    endpoint("PUT", /^\/swap$/, async ({ body }) => swap.keep(parseSwap(body))),
    endpoint("POST", /^\/shutdown$/, async () => {
      await stopAll();
      ending.abort(new Error("the supervisor is ending"));
      return { pid: process.pid };
    }),
  ];

  const server = createServer(serving(endpoints, { log, largestBytes: 2 ** 20 }));
  await listenPrivately(server, socket);
  const wakeServer = createServer(serving(cellEndpoints, { log, largestBytes: 2 ** 10 }));
  const wakeSocket = join(dir, "run", "wake.sock");
  await listenPrivately(wakeServer, wakeSocket);
  shareWakeSocket();
  log.info({ socket, children: children.size }, "supervising");

  const leave = () => {
    void cells.letGo();
    ending.abort(new Error("the supervisor is ending"));
  };
  process.on("SIGTERM", leave);
  process.on("SIGINT", leave);
  const rotating = rotateNowAndThen(children, clock, ending.signal, log);
  await new Promise<void>((resolve) => ending.signal.addEventListener("abort", () => resolve(), { once: true }));
  process.off("SIGTERM", leave);
  process.off("SIGINT", leave);
  await cells.letGo();
  for (const child of children.values()) child.release();
  await rotating;
  await Promise.all([closeServer(server, socket), closeServer(wakeServer, wakeSocket)]);
  log.info("supervisor ends");

  /** The one socket that somebody without rights may call: it wakes, and nothing else. */
  function shareWakeSocket(): void {
    const waker = [...children.values()].map((child) => child.spec()).find((spec) => spec.wakes && spec.uid !== undefined);
    if (!waker || !existsSync(wakeSocket)) return;
    chownSync(wakeSocket, 0, waker.gid ?? waker.uid ?? 0);
    chmodSync(wakeSocket, 0o660);
    chmodSync(dirname(wakeSocket), 0o711);
  }
}

async function closeServer(server: Server, socket: string): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  rmSync(socket, { force: true });
}

const swapSchema = z.strictObject({
  bytes: z.int().min(0),
  native: z.string().startsWith("/"),
  medium: z.enum(["file", "zram"]).exactOptional(),
  encryption: z.enum(["prefer", "require", "off"]).exactOptional(),
});

function parseSwap(value: unknown): SwapWanted {
  const parsed = swapSchema.safeParse(value);
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
  return parsed.data;
}

/** The socket is ours alone from its first moment on. */
async function listenPrivately(server: Server, socket: string): Promise<void> {
  // waiting for a child to become ready may take minutes
  server.requestTimeout = 0;
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  // we hold the lock, so whoever made this is gone
  rmSync(socket, { force: true });
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

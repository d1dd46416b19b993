import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { systemClock } from "../core/clock.ts";
import { IronwrightError, isError } from "../core/errors.ts";
import { type CallOptions, callJson } from "../ipc/index.ts";
import { openLog, tailLog } from "./log-file.ts";
import { identify, isAlive } from "./process.ts";
import type { CellStatus, ChildSpec, ChildStatus, Supervisor } from "./supervisor.ts";

const START_TIMEOUT_MS = 20_000;
const POLL_MS = 25;

export function connectSupervisor(socket: string): Supervisor {
  const call = calling(socket);
  const pathOf = (name: string, rest = "") => `/children/${encodeURIComponent(name)}${rest}`;
  const cellPath = (name: string, rest = "") => `/cells/${encodeURIComponent(name)}${rest}`;
  return {
    ensure: (spec: ChildSpec) => call("PUT", pathOf(spec.name), { body: spec }),
    waitReady: (name, { timeoutMs, signal }) => call("GET", pathOf(name, `/ready?timeoutMs=${timeoutMs}`), signal ? { signal } : {}),
    async list(names) {
      if (names?.length === 0) return [];
      if (names === undefined) return call<ChildStatus[]>("GET", "/children");
      const some = await call<ChildStatus[]>("GET", `/children?${new URLSearchParams(names.map((name) => ["name", name]))}`);
      // a supervisor of an older version tells of all
      return some.filter((child) => names.includes(child.name));
    },
    stop: (name) => call("POST", pathOf(name, "/stop")),
    remove: (name) => call("DELETE", pathOf(name)),
    tail: (name, lines) => call<string>("GET", pathOf(name, `/log?lines=${lines}`)),
    cells: () => call("GET", "/cells"),
    cellStates: () => call("GET", "/cell-states"),
    async cell(name) {
      const status = await call<Partial<CellStatus>>("GET", cellPath(name));
      return status.name === undefined ? undefined : (status as CellStatus);
    },
    freezeCell: (name, { encrypted = false } = {}) => call("POST", cellPath(name, encrypted ? "/freeze?encrypted=1" : "/freeze")),
    stopCell: (name) => call("POST", cellPath(name, "/stop")),
    wakeCell: (name, { thawMs } = {}) => call("POST", cellPath(name, thawMs === undefined ? "/wake" : `/wake?thawMs=${thawMs}`)),
    keepSwap: (wanted) => call("PUT", "/swap", { body: wanted }),
    swap: () => call("GET", "/swap"),
    async shutdown() {
      const { pid: before } = await call<{ pid: number }>("GET", "/");
      const supervisor = identify(before);
      await call("POST", "/shutdown");
      while (supervisor && isAlive(supervisor)) await systemClock.sleep(POLL_MS);
    },
  };
}

/** The supervisor of this data directory (socket `<dir>/run/supervisor.sock`): the one that runs, or a new one, detached. */
export async function startEmbeddedSupervisor({ dir, log }: { readonly dir: string; readonly log: Logger }): Promise<Supervisor> {
  const socket = join(dir, "run", "supervisor.sock");
  if (await answers(socket)) return connectSupervisor(socket);
  const logFile = join(dir, "logs", "supervisor.log");
  const pid = launch(dir, socket, logFile);
  log.info({ pid, socket }, "started the supervisor");
  // of two started at once one ends by itself: its lock tells it so
  const until = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < until) {
    if (await answers(socket)) return connectSupervisor(socket);
    await systemClock.sleep(POLL_MS);
  }
  throw new IronwrightError("IRW_SUPERVISOR_UNREACHABLE", {
    socket,
    reason: `it was started and does not answer:\n${tailLog(logFile, 10)}`,
  });
}

function launch(dir: string, socket: string, logFile: string): number | undefined {
  const output = openLog(logFile);
  try {
    // published, this file is JavaScript, and so is that program
    const program = fileURLToPath(new URL(`./detached${extname(import.meta.url)}`, import.meta.url));
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, dir, socket], {
      detached: true,
      stdio: ["ignore", output, output],
      cwd: "/",
    });
    // a program that cannot be started is told by the missing answer
    child.once("error", () => {});
    child.unref();
    return child.pid;
  } finally {
    closeSync(output);
  }
}

async function answers(socket: string): Promise<boolean> {
  try {
    await calling(socket)("GET", "/");
    return true;
  } catch (error) {
    if (isError(error, "IRW_SUPERVISOR_UNREACHABLE")) return false;
    throw error;
  }
}

/** Calls it; throws IRW_SUPERVISOR_UNREACHABLE when nobody answers. */
function calling(socket: string) {
  const unreachable = (reason: string, cause: unknown) => new IronwrightError("IRW_SUPERVISOR_UNREACHABLE", { socket, reason }, cause);
  return <T>(method: string, path: string, options: Omit<CallOptions, "unreachable"> = {}) =>
    callJson<T>(socket, method, path, { ...options, unreachable });
}

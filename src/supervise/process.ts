import { readdirSync, readFileSync } from "node:fs";

/**
 * Which process it is: a pid alone may be another's by now. Pid and start time together are never given twice;
 * the executable is no part of it, for a wrapper becomes another one by exec and stays the same process.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after the system's start: field 22 of /proc/PID/stat, proc_pid_stat(5). */
  readonly startTicks: string;
  /** Ticks count from this start of the system. */
  readonly bootId: string;
}

/** Undefined when there is no such process, or it is a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // the second field is the name in parentheses and may hold anything, parentheses too
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    const startTicks = fields[19];
    if (state === "Z" || state === "X" || !startTicks) return undefined;
    return { pid, startTicks, bootId: bootId() };
  } catch {
    return undefined;
  }
}

/** Whether this very process still runs. */
export function isAlive(process: ProcessIdentity): boolean {
  const now = identify(process.pid);
  return now !== undefined && now.startTicks === process.startTicks && now.bootId === process.bootId;
}

/**
 * The leader of the session that was started with this variable in its environment, if one runs: a supervisor killed
 * between starting a child and writing its pid down leaves one that nobody knows. Anybody can put a variable into an environment, so it must
 * run as one of these users.
 */
export function findSession(variable: string, value: string, users: readonly number[]): ProcessIdentity | undefined {
  for (const entry of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      const environment = readFileSync(`/proc/${entry}/environ`, "latin1").split("\0");
      if (!environment.includes(`${variable}=${value}`)) continue;
      if (!users.includes(userOf(entry))) continue;
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const session = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3];
      if (session === entry) return identify(Number(entry));
    } catch {
      // it ended meanwhile, or is another user's
    }
  }
  return undefined;
}

/** Its real user: proc_pid_status(5). */
function userOf(pid: string): number {
  return Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? Number.NaN);
}

/** Signals the process and its whole group, if it is still the one meant. */
export function signalGroup(target: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(-target.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Ends what a process left in its group, which keeps its number reserved while it has members: where a process has it again, it is a stranger's. */
export function killLeftovers(group: number): void {
  if (identify(group)) return;
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // nobody is left in it
  }
}

let bootIdRead: string | undefined;

function bootId(): string {
  bootIdRead ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return bootIdRead;
}

import { readFileSync, readlinkSync } from "node:fs";

/** Which process it is: a pid alone may be another's by now. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after the system's start: field 22 of /proc/PID/stat, proc_pid_stat(5). */
  readonly startTicks: string;
  /** Ticks count from this start of the system. */
  readonly bootId: string;
  readonly executable: string;
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
    return { pid, startTicks, bootId: bootId(), executable: executableOf(pid) };
  } catch {
    return undefined;
  }
}

/** Empty while the process is on its way out: its memory is gone before it is. */
function executableOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "";
  }
}

/**
 * Whether this very process still runs.
 * Its executable may have been replaced on disk meanwhile; the kernel says so by a suffix.
 */
export function isAlive(process: ProcessIdentity): boolean {
  const now = identify(process.pid);
  return (
    now !== undefined &&
    now.startTicks === process.startTicks &&
    now.bootId === process.bootId &&
    (now.executable === "" || now.executable.replace(/ \(deleted\)$/, "") === process.executable)
  );
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

let bootIdRead: string | undefined;

function bootId(): string {
  bootIdRead ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return bootIdRead;
}

import { readdirSync, readFileSync } from "node:fs";

/** A running process and its command line, the words apart by spaces. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** The real one. */
  readonly uid: number;
  readonly command: string;
}

/** All that run now and have a command line: the kernel's own threads have none. */
export function runningProcesses(): readonly Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processOf(Number(name)) ?? [])
    .filter(({ command }) => command !== "");
}

/** Undefined when it is gone. */
export function processOf(pid: number): Process | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const numberOf = (field: string) => Number(new RegExp(`^${field}:\t(\\d+)`, "m").exec(status)?.[1]);
    // proc_pid_cmdline(5): each word ends with a zero, and a title is padded with them
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, parent: numberOf("PPid"), uid: numberOf("Uid"), command };
  } catch {
    return undefined;
  }
}

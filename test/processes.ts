import { readdirSync, readFileSync } from "node:fs";

/** A running process and its command line, the words apart by spaces. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
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
    const parent = /^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    // proc_pid_cmdline(5): each word ends with a zero, and a title is padded with them
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, parent: Number(parent), command };
  } catch {
    return undefined;
  }
}

import { readdirSync, readFileSync } from "node:fs";

/** A running process and its command line, the words apart by spaces. */
export interface Process {
  readonly pid: number;
  readonly command: string;
}

/** All that run now and have a command line: the kernel's own threads have none. */
export function runningProcesses(): readonly Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid: Number(pid), command: commandOf(pid) }))
    .filter(({ command }) => command !== "");
}

function commandOf(pid: string): string {
  try {
    // proc_pid_cmdline(5): each word ends with a zero, and a title is padded with them
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return ""; // it ended meanwhile
  }
}

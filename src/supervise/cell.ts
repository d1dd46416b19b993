import { chmodSync, chownSync, mkdirSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { isAlive, type ProcessIdentity } from "./process.ts";
import type { CellPlace, ChildSpec } from "./supervisor.ts";

/** A child as its cell sees it. */
export interface CellMember {
  readonly process: ProcessIdentity | undefined;
}

/** How a process gets into its cell: by a live member of it, by making it, or not yet. */
export type Entry = { readonly join?: ProcessIdentity } | "wait";

/**
 * One network namespace a cell, without a mount or a file that holds it: whoever comes joins a member that lives. A new one is made when
 * none does, by the holder alone, and nobody comes while another is on its way, or two would be made.
 */
export function entryOf(holder: boolean, siblings: readonly CellMember[], isInside: (process: ProcessIdentity) => boolean): Entry {
  const alive = siblings.flatMap(({ process }) => (process && isAlive(process) ? [process] : []));
  if (!alive.every(isInside)) return "wait";
  const [member] = alive;
  if (member) return { join: member };
  return holder ? {} : "wait";
}

/** Whether it has left our network for its cell's. */
export function hasEntered({ pid }: ProcessIdentity): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync("/proc/self/ns/net");
  } catch {
    // it is ending: whoever joins it is told so, and tries again
    return true;
  }
}

/** The command that becomes the child's in its cell. */
export function cellCommand({ command, cwd }: ChildSpec, place: CellPlace, join: ProcessIdentity | undefined): readonly string[] {
  const { limits = {}, listen } = place;
  const limit = (flag: string, value: number | undefined) => (value === undefined ? [] : [flag, String(value)]);
  return [
    place.native,
    "cell",
    ...["--name", place.name, "--uid", String(place.uid), "--gid", String(place.gid)],
    ...(join ? ["--join", `${join.pid}:${join.startTicks}`] : []),
    ...(listen ? ["--listen", `${listen.socket}=${listen.gid}`] : []),
    ...limit("--cpu", limits.cpuMillis),
    ...limit("--memory", limits.memoryBytes),
    ...limit("--pids", limits.pids),
    ...(cwd ? ["--dir", cwd] : []),
    ...place.mounts.flatMap(({ source, target, writable }) => [writable ? "--writable" : "--read-only", `${source}=${target}`]),
    "--",
    ...command,
  ];
}

/** Makes and gives away the directories that a child needs. */
export function grantAll({ grants = [], cell }: ChildSpec): void {
  for (const { source, owner } of [...grants, ...(cell?.mounts ?? [])]) {
    if (!owner) continue;
    mkdirSync(source, { recursive: true, mode: 0o700 });
    grant(source, owner);
  }
}

function grant(dir: string, owner: { readonly uid: number; readonly gid: number }): void {
  chownSync(dir, owner.uid, owner.gid);
  chmodSync(dir, 0o2750);
  // what is in another's directory may be anything by now
  if (owner.uid !== 0) return;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) grant(path, owner);
    if (!entry.isFile()) continue;
    chownSync(path, owner.uid, owner.gid);
    chmodSync(path, 0o640);
  }
}

import { IronwrightError } from "../core/errors.ts";
import type { Disk, RootDevice } from "../core/resources.ts";

/** What the partition table and the EFI system partition take from a disk. */
export const OVERHEAD_BYTES = 68 * 2 ** 20;

export interface RootDiskWish {
  readonly machine: string;
  readonly disks: readonly Disk[];
  /** The Machine's own hint stands before its class's. */
  readonly hint: RootDevice | undefined;
  /** The unpacked root file system. */
  readonly imageBytes: number;
}

/**
 * The disk that becomes the root disk: every hint must match, the smallest match that is large enough wins.
 * @throws IRW_DISK_NONE when there is none, or when after another boot it could be mistaken for another; never another disk
 */
export function rootDisk({ machine, disks, hint = {}, imageBytes }: RootDiskWish): Disk {
  const needed = Math.max((hint.minSizeGiB ?? 0) * 2 ** 30, imageBytes + OVERHEAD_BYTES);
  const fitting = disks.filter((disk) => matches(disk, hint) && disk.sizeBytes >= needed);
  const [best] = fitting.toSorted((a, b) => a.sizeBytes - b.sizeBytes || (a.path < b.path ? -1 : 1));
  const twin = disks.find((disk) => best && disk !== best && looksLike(disk, best));
  if (best && !twin) return best;
  throw new IronwrightError("IRW_DISK_NONE", {
    machine,
    wanted: `${wanted(hint, needed)}${twin ? ", known by its serial, WWN or size" : ""}`,
    have: disks.map(describe).join("; ") || "no disk at all",
  });
}

function matches(disk: Disk, hint: RootDevice): boolean {
  if (hint.serial !== undefined && disk.serial !== hint.serial) return false;
  if (hint.wwn !== undefined && disk.wwn !== hint.wwn) return false;
  if (hint.model !== undefined && disk.model !== hint.model) return false;
  return hint.name === undefined || disk.name === hint.name || disk.path === hint.name;
}

/** Names change between boots: these three are what every step knows the disk by. */
function looksLike(one: Disk, other: Disk): boolean {
  return one.serial === other.serial && (one.wwn ?? "") === (other.wwn ?? "") && one.sizeBytes === other.sizeBytes;
}

function wanted(hint: RootDevice, bytes: number): string {
  const hints = (["serial", "wwn", "model", "name"] as const).filter((key) => hint[key] !== undefined).map((key) => `${key} ${hint[key]}`);
  return [`of at least ${gib(bytes)}`, ...hints].join(" with ");
}

function describe(disk: Disk): string {
  return `${disk.path} (${gib(disk.sizeBytes)}, ${disk.model || "no model"}, serial ${disk.serial || "none"})`;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

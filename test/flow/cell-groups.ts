import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Where the kernel keeps the groups of all cells: in each hierarchy of version 1, or in the one of version 2. */
export function groupsOfCells(root = "/sys/fs/cgroup"): readonly string[] {
  return [root, ...readdirSync(root).map((entry) => join(root, entry))]
    .map((hierarchy) => join(hierarchy, "ironwright"))
    .filter((path) => existsSync(path));
}

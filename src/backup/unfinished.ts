import { existsSync } from "node:fs";
import { join } from "node:path";
import { IronwrightError } from "../core/errors.ts";

/** Holds what is not whole yet; a daemon does not start beside it. */
export const UNFINISHED = "restoring";

/** A restore that was broken off left a directory that is not whole: nothing may start there. @throws IRW_RESTORE_TARGET */
export function refuseUnfinished(dataDir: string): void {
  if (existsSync(join(dataDir, UNFINISHED)))
    throw new IronwrightError("IRW_RESTORE_TARGET", { directory: dataDir, reason: "a restore was broken off there, and it is not whole" });
}

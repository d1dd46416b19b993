import { isTrue } from "./conditions.ts";
import type { MachineStatus } from "./resources.ts";

/** True where what is known of a machine is older than a restore: its disks are wiped and read back before anybody gets it. */
export const WIPE_UNPROVEN = "WipeUnproven";

/** Its disks were a tenant's, or may have been, and no wipe was read back since. */
export function mayCarryTenant(status: MachineStatus | undefined): boolean {
  return status?.lastTenant !== undefined || isTrue(status?.conditions, WIPE_UNPROVEN);
}

import { IronwrightError } from "../core/errors.ts";

/**
 * Of each minor version, the first patch in which a user cannot leave the keys of its role: GHSA-rfx7-8w68-q57q (nested
 * transactions), GHSA-x35m-3gp4-4fh5 (PrevKv and leases in them), GHSA-xg4h-6gfc-h4m8 (open-ended watches).
 */
const FLOORS: readonly (readonly [major: number, minor: number, patch: number])[] = [
  [3, 6, 14],
  [3, 7, 1],
];

/** @throws IRW_DATASTORE_VERSION */
export function checkVersion(have: string): void {
  const [major = 0, minor = 0, patch = 0] = have.split(/[.-]/, 3).map(Number);
  const floor = FLOORS.find((one) => one[0] === major && one[1] === minor);
  const isLater = major > 3 || (major === 3 && minor > 7);
  // a release candidate of a floor is not the floor
  if (isLater || (floor && patch >= floor[2] && !have.includes("-"))) return;
  throw new IronwrightError("IRW_DATASTORE_VERSION", { have, floor: (floor ?? [3, 6, 14]).join(".") });
}

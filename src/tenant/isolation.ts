import { IronwrightError } from "../core/errors.ts";
import type { SwapWanted } from "../supervise/index.ts";
import type { NumberRange } from "./ports.ts";
import { lowestFree } from "./ports.ts";
import type { ControlPlaneLimits } from "./spec.ts";

/** How control planes are kept apart from the host and from one another. */
export interface Isolation {
  /** The native program, which makes cells. */
  readonly native: string;
  /** The first is the gateway's, each other one a tenant's. */
  readonly uids: NumberRange;
  /** Of one control plane. */
  readonly limits: ControlPlaneLimits;
  /** What sleepers are frozen into; of 0 bytes it is none of ours, and without it what is on already stays. */
  readonly swap?: Omit<SwapWanted, "native">;
  /** Where people of all tenants come in. */
  readonly frontDoor: { readonly address: string; readonly port: number };
  /** People reach TENANT.PROJECT.<domain>. */
  readonly domain: string;
}

/** The gateway runs without rights too. */
export function gatewayUser({ uids }: Isolation): number {
  return uids.from;
}

/** The lowest user id no control plane has. */
export function chooseUser({ uids }: Isolation, taken: readonly { readonly userID?: number }[]): number {
  const range = { from: uids.from + 1, to: uids.to };
  const user = lowestFree(
    range,
    taken.map((one) => one.userID),
  );
  if (user === undefined) throw new IronwrightError("IRW_TENANT_USERS", range);
  return user;
}

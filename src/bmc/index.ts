import { IronwrightError } from "../core/errors.ts";
import { parseBmcAddress } from "./address.ts";
import type { Bmc, BmcOptions } from "./bmc.ts";
import { connectRedfish } from "./redfish.ts";

export { parseBmcAddress } from "./address.ts";
export type { Before, Bmc, BmcIdentity, BmcOptions, BootTarget, Power, PowerAction } from "./bmc.ts";
export { type BmcKeeper, bmcKeeper } from "./keeper.ts";

/** A client for the BMC the spec names; nothing is sent before the first call. */
export function connectBmc(options: BmcOptions): Bmc {
  if (parseBmcAddress(options.spec.address).protocol === "ipmi") {
    throw new IronwrightError("IRW_RESOURCE_INVALID", {
      resource: "spec.bmc.address",
      problems: "  ipmi:// is not supported yet: use the BMC's Redfish",
    });
  }
  return connectRedfish(options);
}

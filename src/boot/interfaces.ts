import { IronwrightError } from "../core/errors.ts";
import type { BootInterface } from "./contract.ts";

/** An address of this host, as `os.networkInterfaces()` tells it. */
export interface HostAddress {
  readonly family: string;
  /** `10.77.0.1/24`; null when the prefix is not known. */
  readonly cidr: string | null;
}

/**
 * Refuses what the configuration says of interfaces and the host does not: an address that is not there, or with another prefix, would
 * hand out another network's addresses.
 * @param host by interface; one that is down, or has no address yet, is not in it and is passed over
 * @throws IRW_CONFIG_INVALID by the field's path
 */
export function checkInterfaces(
  interfaces: readonly Pick<BootInterface, "name" | "address" | "mode">[],
  host: Readonly<Record<string, readonly HostAddress[] | undefined>>,
): void {
  const problems = interfaces.flatMap(({ name, address, mode }, at) => {
    const has = (host[name] ?? []).flatMap(({ family, cidr }) => (family === "IPv4" && cidr ? [cidr] : []));
    if (mode === "off" || has.length === 0 || has.includes(address)) return [];
    return [`  boot.interfaces[${at}].address: ${name} has ${has.join(", ")}, not ${address}`];
  });
  if (problems.length > 0)
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: "this host's interfaces", problems: problems.join("\n") });
}

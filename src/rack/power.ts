import type { BootSource } from "./argv.ts";
import type { Server } from "./config.ts";

/** A BMC's boot override (Redfish ComputerSystem.Boot). */
export interface Override {
  readonly target: "None" | "Pxe" | "Hdd" | "UefiHttp";
  readonly enabled: "Disabled" | "Once" | "Continuous";
}

export const NO_OVERRIDE: Override = { target: "None", enabled: "Disabled" };

/** Kinds of reset (Redfish Resource.ResetType) a server here understands. */
export const RESETS = ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"] as const;
export type Reset = (typeof RESETS)[number];

/** What a BMC is soldered to: its server. QEMU behind it, or memory in tests. */
export interface PowerUnit {
  power(): "On" | "Off";
  reset(kind: Reset): Promise<void>;
  override(): Override;
  setOverride(next: Override): Promise<void>;
}

/** What is booted now, and what the override becomes by booting: `Once` is used up. */
export function bootOf(override: Override): { readonly boot: readonly BootSource[]; readonly next: Override } {
  const boot = override.enabled === "Disabled" ? ORDER.None : ORDER[override.target];
  return { boot, next: override.enabled === "Once" ? NO_OVERRIDE : override };
}

const ORDER: Readonly<Record<Override["target"], readonly BootSource[]>> = {
  None: ["disk", "network"],
  Hdd: ["disk", "network"],
  Pxe: ["network", "disk"],
  UefiHttp: ["network-http", "disk"],
};

/** The targets a firmware knows. */
export function targetsOf(firmware: Server["firmware"]): readonly Override["target"][] {
  return firmware === "uefi" ? ["None", "Pxe", "Hdd", "UefiHttp"] : ["None", "Pxe", "Hdd"];
}

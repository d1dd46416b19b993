import type { Clock } from "../core/clock.ts";
import type { BmcSpec } from "../core/resources.ts";
import type { Logger } from "../observe/index.ts";

export type Power = "On" | "Off" | "Unknown";
export type PowerAction = "On" | "ForceOff" | "GracefulShutdown" | "ForceRestart";
export type BootTarget = "Pxe" | "Hdd";

/** Asked in the call's turn, right before it is sent: is the server still the caller's? When it throws, nothing is sent. */
export type Before = () => Promise<void>;

/** A server's management controller. One call at a time goes to it, whoever calls. */
export interface Bmc {
  readonly address: string;
  identity(): Promise<BmcIdentity>;
  power(): Promise<Power>;
  /** Resolves once the new state was read back. What is so already is not asked for again, but for a restart. */
  setPower(action: PowerAction, signal: AbortSignal, before?: Before): Promise<void>;
  /** What it boots next time, once; read back. */
  bootNext(target: BootTarget, options: { readonly firmware?: "bios" | "uefi" }, before?: Before): Promise<void>;
  /** Ends its session: BMCs have few. */
  close(): Promise<void>;
}

export interface BmcIdentity {
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly uuid: string;
}

export interface BmcOptions {
  readonly spec: BmcSpec;
  readonly credentials: { readonly username: string; readonly password: string };
  readonly clock: Clock;
  readonly log: Logger;
  /** How long one answer may take. */
  readonly timeoutMs?: number;
}

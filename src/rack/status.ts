import { z } from "zod";

/** A server of the rack, as people see it. */
export const serverStatusSchema = z.object({
  name: z.string(),
  power: z.enum(["On", "Off"]),
  firmware: z.enum(["bios", "uefi"]),
  serial: z.string(),
  uuid: z.string(),
  bmc: z.string().describe("address of its BMC, inside the rack's namespace"),
  /** Fingerprint of the BMC's certificate; empty before the rack was ever up. */
  certificateSha256: z.string(),
  bootMAC: z.string(),
  console: z.string().describe("Unix socket of the serial console"),
  consoleLog: z.string(),
  disks: z.array(z.string()),
  failure: z.string().optional(),
});
export type ServerStatus = z.output<typeof serverStatusSchema>;

export interface RackStatus {
  readonly name: string;
  readonly namespace: string;
  readonly directory: string;
  readonly subnet: string;
  readonly up: boolean;
  readonly servers: readonly ServerStatus[];
}

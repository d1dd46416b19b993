import { z } from "zod";
import { decodeBech32 } from "../core/bech32.ts";

const recipient = z.string().refine((text) => {
  const key = decodeBech32(text);
  return key?.prefix === "age" && key.bytes.length === 32;
}, "a public key of age (age1…), as `ironwright backup --new-key FILE` and age-keygen make it");

const zone = z.string().refine((text) => {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}, "a time zone, e.g. Europe/Berlin");

/** Backups by the daemon. */
export const backupSchema = z.strictObject({
  schedule: z
    .string()
    .regex(/^\S+( +\S+){4}$/, "five fields of cron, e.g. 15 3 * * *")
    .default("15 3 * * *")
    .describe("when a backup is written, by cron; one that was missed is made up for"),
  timeZone: zone.default("UTC"),
  directory: z.string().startsWith("/", "an absolute path").describe("where backups go: on another machine, best; absent: none is written"),
  keep: z.int().min(1).max(10_000).default(14).describe("so many backups of this host stay in the directory"),
  recipients: z.array(recipient).min(1).max(16).describe("public keys of age that can read them; the daemon itself cannot"),
  tenants: z.boolean().default(true).describe("with tenants' datastores and credentials"),
});

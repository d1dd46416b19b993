import { join } from "node:path";
import { z } from "zod";
import { readIfThere, writeAtomically } from "../supervise/index.ts";

const restored = z.object({
  /** Of this restore: two from one backup are two. */
  id: z.string(),
  /** Of the backup, RFC 3339. */
  takenAt: z.string(),
  restoredAt: z.string(),
  /** False where the host control plane is somebody else's, and was not restored. */
  state: z.boolean(),
  /** Every machine was quarantined. */
  handled: z.boolean(),
});

/** That this data directory came from a backup. */
export type Restored = z.output<typeof restored>;

function fileOf(dataDir: string): string {
  return join(dataDir, "restored.json");
}

export function writeRestored(dataDir: string, value: Restored): void {
  writeAtomically(fileOf(dataDir), `${JSON.stringify(value, null, 2)}\n`);
}

/** Undefined for a directory that no backup was restored into. */
export function readRestored(dataDir: string): Restored | undefined {
  const text = readIfThere(fileOf(dataDir));
  return text === undefined ? undefined : restored.parse(JSON.parse(text));
}

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { IronwrightError } from "../core/errors.ts";
import type { Rack } from "./config.ts";
import { rackPaths } from "./paths.ts";
import { processIdSchema } from "./process.ts";

const recordSchema = z.object({
  /** Stands as alias on the interfaces this rack made: only what carries it is ever removed. */
  owner: z.string(),
  /** The first namespace of this host made the mount of `ip netns`; the last one gone takes it back. */
  madeMount: z.boolean(),
  networkMade: z.boolean(),
  chassis: processIdSchema.optional(),
  description: z.unknown(),
});

/** What a rack made on its host; written before it is made, so that `rack down` knows it after any crash. */
export type RackRecord = z.output<typeof recordSchema>;

export function readRecord(rack: Pick<Rack, "directory">): RackRecord | undefined {
  const file = rackPaths(rack.directory).record;
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new IronwrightError("IRW_RACK_CONFLICT", { what: `its record ${file} cannot be read` }, error);
  }
  return recordSchema.parse(document);
}

export function writeRecord(rack: Pick<Rack, "directory">, record: RackRecord): void {
  const file = rackPaths(rack.directory).record;
  mkdirSync(rack.directory, { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, JSON.stringify(record, null, 2));
  renameSync(`${file}.new`, file);
}

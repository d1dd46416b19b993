import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
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

/** Why this directory cannot become the rack's: `rack down` removes all that is in it. */
export function strangersIn({ directory }: Pick<Rack, "directory">): string | undefined {
  const names = existsSync(directory) ? readdirSync(directory) : [];
  const { mark, record } = rackPaths(directory);
  if (names.length === 0 || [mark, record].some((file) => names.includes(basename(file)))) return undefined;
  return `its directory ${directory} holds files that no rack made (${names.slice(0, 3).join(", ")}); name an empty one, or none`;
}

export function writeRecord(rack: Pick<Rack, "directory">, record: RackRecord): void {
  const file = rackPaths(rack.directory).record;
  mkdirSync(rack.directory, { recursive: true, mode: 0o700 });
  writeFileSync(rackPaths(rack.directory).mark, "");
  // the description has the BMCs' passwords
  writeFileSync(`${file}.new`, JSON.stringify(record, null, 2), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

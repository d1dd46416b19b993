import { mkdir, readFile } from "node:fs/promises";
import { writeAtomically } from "../supervise/index.ts";

/**
 * Writes a file that only we may read, whole or not at all; one that already says the same is left alone.
 * @param mode 0o640 where the directory's group may read it too
 */
export async function writePrivate(path: string, contents: string, mode = 0o600): Promise<void> {
  if ((await readText(path)) === contents) return;
  writeAtomically(path, contents, { mode });
}

export async function makePrivate(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
}

/** Undefined when there is no such file. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

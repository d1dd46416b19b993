import { closeSync, fchmodSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface Writing {
  readonly mode?: number;
  /** False: not before the disk has it, but for whoever reads it next; a loss of power may leave the old content, or an empty file. */
  readonly durable?: boolean;
}

/** Writes a file so that a reader, or a crash, sees the old content or the new one and nothing between. */
export function writeAtomically(file: string, content: string, { mode = 0o600, durable = true }: Writing = {}): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.new`;
  const handle = openSync(temporary, "w", mode);
  try {
    // whatever the umask, and whatever an older one of that name had
    fchmodSync(handle, mode);
    writeFileSync(handle, content);
    if (durable) fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
}

/** The file's text, or undefined when there is none. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

import { spawn } from "node:child_process";
import { basename, dirname } from "node:path";

/**
 * Whether the bytes of `text` stand anywhere in a disk's file: all of its data is read. Holes are left out, since they hold
 * none; tar knows where they are (SEEK_DATA), Node does not.
 */
export async function fileHolds(path: string, text: string): Promise<boolean> {
  const wanted = Buffer.from(text);
  const tar = spawn(
    "tar",
    ["--create", "--sparse", "--warning=no-file-changed", "--file=-", "--directory", dirname(path), basename(path)],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const ended = new Promise<number | null>((resolve) => tar.once("exit", resolve));
  let found = false;
  let tail = Buffer.alloc(0);
  for await (const chunk of tar.stdout as AsyncIterable<Buffer>) {
    const seen = Buffer.concat([tail, chunk]);
    found ||= seen.includes(wanted);
    tail = seen.subarray(Math.max(0, seen.length - wanted.length + 1));
  }
  const status = await ended;
  // 1: the file changed while it was read, as a running server's disk does
  if (status !== 0 && status !== 1) throw new Error(`tar could not read ${path}: exit ${status}`);
  return found;
}

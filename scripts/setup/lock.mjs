import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";

/**
 * One set-up at a time for a cache. The lock is the kernel's, on a file that a child holds open for as long as we live:
 * nothing is left to clean up, however we end.
 * @param {string} cacheDir
 * @param {(text: string) => void} say
 * @returns {Promise<() => void>} lets go
 */
export async function takeLock(cacheDir, say) {
  mkdirSync(cacheDir, { recursive: true });
  const holder = spawn("flock", [join(cacheDir, "lock"), "sh", "-c", "echo held; exec cat >/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const waiting = setTimeout(() => say("  another set-up is at work; waiting for it"), 300);
  try {
    await new Promise((resolve, reject) => {
      holder.stdout.once("data", resolve);
      holder.once("error", () => reject(new SetupError("there is no flock on the PATH", "sudo apt-get install util-linux")));
      holder.once("exit", (code) =>
        reject(new SetupError(`the lock in ${cacheDir} cannot be taken (flock ended with ${code})`, `see who owns ${cacheDir}`)),
      );
    });
  } finally {
    clearTimeout(waiting);
  }
  return () => holder.stdin.end();
}

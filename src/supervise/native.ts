import { execFile } from "node:child_process";

const TIMEOUT_MS = 120_000;

/** Runs a verb of the native program to its end, or until the signal aborts. Rejects with its message. */
export function runNative(native: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(native, args, { timeout: TIMEOUT_MS, killSignal: "SIGKILL", ...(signal ? { signal } : {}) }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr.trim() || error.message, { cause: error }));
      else resolve(stdout.trim());
    });
  });
}

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { cellCommand, grantAll } from "./cell.ts";
import { openLog } from "./log-file.ts";
import type { ProcessIdentity } from "./process.ts";
import type { ChildSpec } from "./supervisor.ts";

/** In each child's environment: the file of its record. */
export const MARK = "IRONWRIGHT_CHILD";

/** Starts a child in a session of its own. In its cell it is the same process all along: the native program becomes it. */
export function launch(spec: ChildSpec, mark: string, join: ProcessIdentity | undefined): ChildProcess {
  const { cell } = spec;
  grantAll(spec);
  const [program = "", ...args] = cell ? cellCommand(spec, cell, join) : spec.command;
  const output = openLog(spec.logFile);
  try {
    const process = spawn(program, args, {
      detached: true,
      stdio: ["ignore", output, output],
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: spec.cwd ?? "/", ...spec.env, [MARK]: mark },
      cwd: cell ? "/" : (spec.cwd ?? "/"),
      ...(spec.argv0 && !cell ? { argv0: spec.argv0 } : {}),
      ...(spec.uid === undefined || spec.becomesUser || cell ? {} : { uid: spec.uid, gid: spec.gid ?? spec.uid }),
    });
    process.unref();
    return process;
  } finally {
    closeSync(output);
  }
}

import { once } from "node:events";
import { flushCompileCache } from "node:module";
import { Command } from "commander";
import { inheritedSockets, socketArguments } from "../boot/sockets.ts";
import { readArtifacts } from "../config/artifacts.ts";
import { loadConfig } from "../config/index.ts";
import type { GlobalOptions } from "./options.ts";

export function serveCommand(global: () => GlobalOptions): Command {
  return new Command("serve")
    .description("run the daemon: boot plane, machines, tenants, autoscaler; its control planes outlive it")
    .action(async () => {
      const config = loadConfig({ ...global(), env: process.env });
      const artifacts = readArtifacts(config.artifacts);
      const sockets = inheritedSockets(process.env, process.pid);
      const wanted = socketArguments(config.boot);
      // Node cannot bind a socket to an interface: the native program opens them and becomes this process again
      if (wanted.length > 0 && sockets.size === 0) {
        const command = [artifacts.native, "sockets", ...wanted, "--", process.execPath, ...process.execArgv, ...process.argv.slice(1)];
        // a process that becomes another writes nothing at its end
        flushCompileCache();
        process.execve?.(artifacts.native, command, process.env);
      }
      // loaded when they are needed, so that servers are answered soon: the first process needs its sockets alone, the boot plane not the rest
      const { createLog } = await import("../observe/index.ts");
      const log = createLog(config.log.level);
      const stopping = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
      const { startBootFirst } = await import("../boot-first.ts");
      const first = await startBootFirst({ config, artifacts, sockets, log });
      const daemon = await import("../main.ts")
        .then(({ startDaemon }) => {
          // now, for a daemon that is killed writes nothing at its end
          flushCompileCache();
          return startDaemon({ config, artifacts, log, stopping: stopping.signal }, first);
        })
        .catch(async (error: unknown) => {
          await first.bootPlane.stop();
          if (!stopping.signal.aborted) throw error;
          log.info("stopped before it was ready");
          // what was still being waited for is given up
          return process.exit();
        });
      if (!stopping.signal.aborted) await once(stopping.signal, "abort");
      log.info("stopping");
      await daemon.stop();
      await first.bootPlane.stop();
    });
}

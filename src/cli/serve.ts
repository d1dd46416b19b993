import { once } from "node:events";
import { Command } from "commander";
import { inheritedSockets, socketArguments } from "../boot/index.ts";
import { readArtifacts } from "../config/artifacts.ts";
import { loadConfig } from "../config/index.ts";
import { createLog } from "../observe/index.ts";
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
        process.execve?.(artifacts.native, command, process.env);
      }
      const log = createLog(config.log.level);
      const stopping = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
      // the whole daemon is loaded only where it is run: the other commands answer at once
      const { startDaemon } = await import("../main.ts");
      const daemon = await startDaemon({ config, artifacts, sockets, log, stopping: stopping.signal }).catch((error: unknown) => {
        if (!stopping.signal.aborted) throw error;
        log.info("stopped before it was ready");
        // what was still being waited for is given up
        process.exit();
      });
      if (!stopping.signal.aborted) await once(stopping.signal, "abort");
      log.info("stopping");
      await daemon.stop();
    });
}

import { join } from "node:path";
import { Command } from "commander";
import { loadConfig } from "../config/index.ts";
import { createLog } from "../observe/index.ts";
import { supervise } from "../supervise/index.ts";
import type { GlobalOptions } from "./options.ts";

export function superviseCommand(global: () => GlobalOptions): Command {
  return new Command("supervise")
    .description("run the supervisor: the parent of control planes, etcd and Redis, which outlive the daemon")
    .action(async () => {
      const config = loadConfig({ ...global(), env: process.env });
      await supervise({
        dir: config.dataDir,
        socket: config.supervisor.socket ?? join(config.dataDir, "run", "supervisor.sock"),
        log: createLog(config.log.level).child({ part: "supervise" }),
      });
    });
}

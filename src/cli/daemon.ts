import { join } from "node:path";
import { askDaemon } from "../api/client.ts";
import { loadConfig } from "../config/index.ts";
import type { GlobalOptions } from "./options.ts";

/** Asks the daemon of this host, by the configuration's data directory. */
export function ask<T>(global: GlobalOptions, path: string): Promise<T> {
  const { dataDir } = loadConfig({ ...global, env: process.env });
  return askDaemon<T>(join(dataDir, "run", "daemon.sock"), path);
}

import { mkdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { refuseUnfinished } from "./backup/unfinished.ts";
import { type BootPlane, checkBound, checkInterfaces, createBootPlane } from "./boot/index.ts";
import type { Artifacts } from "./config/artifacts.ts";
import type { Config } from "./config/index.ts";
import { systemClock } from "./core/clock.ts";
import { addProcessMetrics, createMetrics, type Logger, type Metrics } from "./observe/index.ts";

/** What is there before all else, and outlasts it. */
export interface First {
  readonly bootPlane: BootPlane;
  readonly metrics: Metrics;
}

export interface FirstSurroundings {
  readonly config: Config;
  readonly artifacts: Artifacts;
  /** Boot sockets by name, inherited from systemd or from `ironwright-native sockets`. */
  readonly sockets: ReadonlyMap<string, number>;
  readonly log: Logger;
}

/**
 * The boot plane is first and waits for nothing, not even for the rest of the daemon's code: a server that boots now may be one that
 * carries the control plane. What this file imports is what a killed daemon loads before it answers again.
 */
export async function startBootFirst({ config, artifacts, sockets, log }: FirstSurroundings): Promise<First> {
  refuseUnfinished(config.dataDir);
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const metrics = createMetrics();
  addProcessMetrics(metrics);
  checkInterfaces(config.boot.interfaces, networkInterfaces());
  checkBound(config.boot.interfaces, sockets, artifacts.native);
  const bootPlane = createBootPlane({
    config: { ...config.boot, dataDir: config.dataDir },
    sockets,
    assets: { pxeDir: artifacts.pxe, kernel: artifacts.installer.kernel, initrd: artifacts.installer.initrd },
    native: artifacts.native,
    clock: systemClock,
    log: log.child({ part: "boot" }),
    metrics,
  });
  try {
    await bootPlane.start();
  } catch (error) {
    // what it has opened by then would keep the process
    await bootPlane.stop().catch((trouble: unknown) => log.error({ err: trouble }, "a part did not stop cleanly"));
    throw error;
  }
  return { bootPlane, metrics };
}

/** A controller of tenants in a process of its own, so that it can be killed. It hears {@link Order}s and says `started`. */
import { readFileSync } from "node:fs";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { connectKube } from "../../src/kube/index.ts";
import { createLog } from "../../src/observe/index.ts";
import { startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import type { HostControlPlane } from "../flow/host-control-plane.ts";
import { cellsOf, controllerOf } from "../flow/tenant-world.ts";

export interface DaemonOptions {
  readonly dir: string;
  readonly kubeconfig: string;
  readonly artifacts: HostControlPlane["artifacts"];
  readonly ports: { readonly from: number; readonly to: number };
  readonly frontDoor: number;
  readonly uid: number;
  readonly swapBytes: number;
}

export interface Order {
  /** What its clock is ahead of the machine's. */
  readonly aheadMs: number;
  /** Whether it may have swap. */
  readonly swap: boolean;
}

if (import.meta.main) {
  const { kubeconfig, ports, frontDoor, uid, swapBytes, ...options } = JSON.parse(process.argv[2] ?? "") as DaemonOptions;
  let order = JSON.parse(process.argv[3] ?? "") as Order;
  process.on("message", (next: Order) => {
    order = next;
  });
  process.once("disconnect", () => process.exit(1));
  const log = createLog("error");
  const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + order.aheadMs) };
  const supervisor = await startEmbeddedSupervisor({ dir: options.dir, log });
  const host = { ...options, log, supervisor, kube: connectKube(readFileSync(kubeconfig, "utf8")) };
  const { isolation } = cellsOf(host, uid, frontDoor);
  if (!isolation) throw new Error("cells need root");
  const kept = {
    ...isolation,
    get swap() {
      return { bytes: order.swap ? swapBytes : 0 };
    },
  };
  await controllerOf(host, ports, { isolation: kept, clock }).start();
  process.send?.("started");
}

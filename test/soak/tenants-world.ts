import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { type Supervisor, startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import { type HostControlPlane, withHost } from "../flow/host-control-plane.ts";
import type { DaemonOptions, Order } from "./tenants-daemon.ts";

/** A host whose tenants' controller is a process of its own, and what can befall it. */
export interface SoakWorld {
  readonly host: HostControlPlane;
  /** As it is now: one that was killed is started anew. */
  supervisor(): Supervisor;
  /** From 0 to 1; the same seed, the same soak. */
  random(): number;
  pick<T>(from: readonly T[]): T;
  startDaemon(): Promise<void>;
  tell(next: Partial<Order>): void;
  /**
   * Each breaks something of the tenant that `id` names then, or of what is there for all, and resolves to whether there was anything to break;
   * what only a person could mend is mended by then.
   */
  faults(id: () => string): Readonly<Record<string, () => Promise<boolean>>>;
  close(): Promise<void>;
}

export interface SoakOptions {
  /** The one before the first is the front door's. */
  readonly ports: { readonly from: number; readonly to: number };
  /** The first user, the gateway's. */
  readonly uid: number;
  readonly seed: number;
  /** How far the daemon's clock may leap. */
  readonly leapsMs?: readonly number[];
}

const LEAPS_MS = [-30 * 60_000, 60 * 60_000, 26 * 60 * 60_000];

export async function openSoak({ ports, uid, seed, leapsMs = LEAPS_MS }: SoakOptions): Promise<SoakWorld> {
  const host = await withHost({ logLevel: "error" });
  let supervisor = host.supervisor;
  const random = numbers(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const options: DaemonOptions = {
    dir: host.dir,
    kubeconfig: host.kubeconfig,
    artifacts: host.artifacts,
    ports,
    frontDoor: ports.from - 1,
    uid,
    swapBytes: 1536 * 2 ** 20,
  };
  let order: Order = { aheadMs: 0, swap: true };
  let daemon: ChildProcess | undefined;

  async function startDaemon(): Promise<void> {
    const program = join(import.meta.dirname, "tenants-daemon.ts");
    const args = [JSON.stringify(options), JSON.stringify(order)];
    daemon = fork(program, args, { execArgv: ["--disable-warning=ExperimentalWarning"] });
    await once(daemon, "message");
  }

  async function killDaemon(): Promise<boolean> {
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return false;
    const gone = once(daemon, "exit");
    daemon.kill("SIGKILL");
    await gone;
    return true;
  }

  function tell(next: Partial<Order>): void {
    order = { ...order, ...next };
    daemon?.send(order);
  }

  /** Whether there was a process to end. */
  async function kill(child: string): Promise<boolean> {
    const pid = (await supervisor.list()).find(({ name }) => name === child)?.pid;
    if (pid === undefined) return false;
    try {
      return process.kill(pid, "SIGKILL");
    } catch (error) {
      // it ended by itself meanwhile
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
      throw error;
    }
  }

  function supervisorsPid(): Promise<number> {
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: join(host.dir, "run", "supervisor.sock"), path: "/", agent: false }, (answer) => {
        answer.setEncoding("utf8").once("data", (text: string) => resolve((JSON.parse(text) as { pid: number }).pid));
      });
      asked.once("error", reject).end();
    });
  }

  return {
    host,
    supervisor: () => supervisor,
    random,
    pick,
    startDaemon,
    tell,
    faults: (id) => ({
      none: async () => true,
      apiserver: () => kill(`tenant-${id()}-kube-apiserver`),
      "controller-manager": () => kill(`tenant-${id()}-kube-controller-manager`),
      scheduler: () => kill(`tenant-${id()}-kube-scheduler`),
      door: () => kill(`tenant-${id()}-door`),
      "all of the cell": async () => {
        let hit = false;
        for (const part of ["door", "kube-apiserver", "kube-controller-manager", "kube-scheduler"])
          hit = (await kill(`tenant-${id()}-${part}`)) || hit;
        return hit;
      },
      gateway: () => kill("tenants-gateway"),
      "shard etcd": () => kill("tenants-etcd-0"),
      async supervisor() {
        process.kill(await supervisorsPid(), "SIGKILL");
        await systemClock.sleep(random() * 1_000);
        supervisor = await startEmbeddedSupervisor({ dir: host.dir, log: host.log });
        return true;
      },
      async daemon() {
        const hit = await killDaemon();
        await systemClock.sleep(random() * 3_000);
        await startDaemon();
        return hit;
      },
      async "no swap"() {
        tell({ swap: false });
        await supervisor.keepSwap({ bytes: 0, native: host.artifacts.native });
        return true;
      },
      async "clock jump"() {
        tell({ aheadMs: pick(leapsMs) });
        return true;
      },
    }),
    async close() {
      await killDaemon();
      await host.stop();
    },
  };
}

export function countOne(times: Record<string, number>, name: string): void {
  times[name] = (times[name] ?? 0) + 1;
}

/** `daemon 3, gateway 2` */
export function counted(times: Readonly<Record<string, number>>): string {
  return Object.entries(times)
    .map(([name, number]) => `${name} ${number}`)
    .join(", ");
}

/** Mulberry32. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

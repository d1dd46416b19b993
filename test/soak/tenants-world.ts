import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { loadavg } from "node:os";
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
  /** Each breaks something of the tenant that `id` names then; what only a person could mend is mended when it resolves. */
  faults(id: () => string): Readonly<Record<string, () => Promise<void>>>;
  close(): Promise<void>;
}

export interface SoakOptions {
  /** The one before the first is the front door's. */
  readonly ports: { readonly from: number; readonly to: number };
  /** The first user, the gateway's. */
  readonly uid: number;
  readonly seed: number;
}

export async function openSoak({ ports, uid, seed }: SoakOptions): Promise<SoakWorld> {
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

  async function killDaemon(): Promise<void> {
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const gone = once(daemon, "exit");
    daemon.kill("SIGKILL");
    await gone;
  }

  function tell(next: Partial<Order>): void {
    order = { ...order, ...next };
    daemon?.send(order);
  }

  async function kill(child: string): Promise<void> {
    const pid = (await supervisor.list()).find(({ name }) => name === child)?.pid;
    if (pid !== undefined) process.kill(pid, "SIGKILL");
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
      none: async () => {},
      apiserver: () => kill(`tenant-${id()}-kube-apiserver`),
      "controller-manager": () => kill(`tenant-${id()}-kube-controller-manager`),
      scheduler: () => kill(`tenant-${id()}-kube-scheduler`),
      door: () => kill(`tenant-${id()}-door`),
      "all of the cell": async () => {
        for (const part of ["door", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]) await kill(`tenant-${id()}-${part}`);
      },
      gateway: () => kill("tenants-gateway"),
      "shard etcd": () => kill("tenants-etcd-0"),
      async supervisor() {
        process.kill(await supervisorsPid(), "SIGKILL");
        await systemClock.sleep(random() * 1_000);
        supervisor = await startEmbeddedSupervisor({ dir: host.dir, log: host.log });
      },
      async daemon() {
        await killDaemon();
        await systemClock.sleep(random() * 3_000);
        await startDaemon();
      },
      async "no swap"() {
        tell({ swap: false });
        await supervisor.keepSwap({ bytes: 0, native: host.artifacts.native });
      },
      async "clock jump"() {
        tell({ aheadMs: pick([-30 * 60_000, 60 * 60_000, 26 * 60 * 60_000]) });
      },
    }),
    async close() {
      await killDaemon();
      await host.stop();
    },
  };
}

/** A row of docs/reference/soak.md. */
export function row(what: string, howMuch: string, result: string, beganAt: number): string {
  const day = new Date().toISOString().slice(0, 10);
  const load = loadavg()
    .map((one) => one.toFixed(1))
    .join(" ");
  return `| ${day} | ${what} | ${howMuch} | ${result}; ${Math.round((Date.now() - beganAt) / 1000)} s, load ${load} |`;
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

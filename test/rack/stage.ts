import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { stringify } from "yaml";
import { type Artifacts, readArtifacts } from "../../src/config/artifacts.ts";
import { reasonOf } from "../../src/core/errors.ts";
import { connectKube, type Kube } from "../../src/kube/index.ts";
import { defaultRack, type RackStatus, rackDown, rackUp } from "../../src/rack/index.ts";
import { gone, identify, kill } from "../../src/rack/process.ts";
import { startEmbeddedSupervisor } from "../../src/supervise/index.ts";
import { processOf } from "../processes.ts";
import { until } from "./steps.ts";

/** Everything the demo runs: a rack, a daemon inside its namespace, and a client of the host control plane. */
export interface Stage {
  readonly artifacts: Artifacts;
  readonly rack: RackStatus;
  /** There once the daemon has been ready. */
  host(): Kube;
  /** What `ironwright` says, asked with the daemon's configuration. */
  ironwright(args: readonly string[]): string;
  startDaemon(): Promise<void>;
  /** SIGKILL, as if the machine had lost its nerve. */
  killDaemon(): Promise<void>;
  /** Of this program's part in it: all of it runs on. */
  close(): Promise<void>;
}

export interface Building {
  readonly cache: string;
  /** Aborts the building, and whatever start of the daemon waits for it to be ready. */
  readonly signal: AbortSignal;
  readonly onStep: (line: string) => void;
}

const STOP_MS = 30_000;
const READY_MS = 180_000;

/** Not in somebody's home, which nobody else may pass: tenants' processes and their gateway have users of their own. */
const dir = "/var/tmp/ironwright-demo";

/** Where all of it lies. */
export const STAGE = {
  dir,
  data: join(dir, "data"),
  config: join(dir, "ironwright.yaml"),
  daemonLog: join(dir, "daemon.log"),
  daemonPid: join(dir, "daemon.pid"),
  supervisor: join(dir, "data", "run", "supervisor.sock"),
  /** Of the host control plane; there once the daemon has been ready. */
  kubeconfig: join(dir, "data", "kubeconfig"),
  tenantKubeconfig: join(dir, "acme.kubeconfig"),
  rack: join(dir, "rack"),
};

const repository = fileURLToPath(new URL("../..", import.meta.url));
const cli = join(repository, "src", "cli", "main.ts");
const rack = defaultRack({ directory: STAGE.rack });

/** In the place of what an earlier run left. What it made before it failed is for {@link tearDown}. */
export async function buildStage({ cache, signal, onStep }: Building): Promise<Stage> {
  const index = join(cache, "artifacts.json");
  const artifacts = readArtifacts(index);
  await tearDown({ cache, onStep });
  signal.throwIfAborted();
  mkdirSync(STAGE.data, { recursive: true, mode: 0o711 });
  const status = await rackUp(rack, { ovmf: artifacts.ovmf, onStep });
  signal.throwIfAborted();
  writeFileSync(
    STAGE.config,
    stringify({
      dataDir: STAGE.data,
      artifacts: index,
      log: { level: "debug" },
      host: { address: "10.77.254.2", port: 6443 },
      boot: {
        interfaces: [
          { name: "prov0", address: "10.77.0.1/24", pool: { from: "10.77.0.100", to: "10.77.0.199" }, routerAdvertisements: true },
        ],
      },
      tenants: { nodes: "10.77.0.1", people: ["10.77.254.2"], warm: 0 },
    }),
  );

  let daemon: ChildProcess | undefined;
  let kube: Kube | undefined;

  return {
    artifacts,
    rack: status,
    host() {
      kube ??= connectKube(readFileSync(STAGE.kubeconfig, "utf8"));
      return kube;
    },
    ironwright(args) {
      const { status: code, stdout, stderr } = spawnSync(process.execPath, [cli, "--config", STAGE.config, ...args], { encoding: "utf8" });
      if (code !== 0) throw new Error(`ironwright ${args.join(" ")} failed: ${stderr}`);
      return stdout;
    },
    async startDaemon() {
      const log = openSync(STAGE.daemonLog, "a");
      const from = fstatSync(log).size;
      // straight into its log and in a session of its own: it may outlive this program, and a terminal's Ctrl-C is not its
      const child = spawn("ip", ["netns", "exec", status.namespace, process.execPath, cli, "--config", STAGE.config, "serve"], {
        cwd: repository,
        stdio: ["ignore", log, log],
        detached: true,
      });
      closeSync(log);
      child.unref();
      daemon = child;
      writeFileSync(STAGE.daemonPid, String(child.pid));
      const said = () => readFileSync(STAGE.daemonLog).subarray(from).toString();
      await until("the daemon is ready", READY_MS, signal, async () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`the daemon ended (${child.signalCode ?? child.exitCode}) before it was ready:\n${said().slice(-1_500)}`);
        return said().includes('"msg":"ready"') ? true : undefined;
      });
    },
    async killDaemon() {
      if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return;
      const ended = once(daemon, "exit");
      daemon.kill("SIGKILL");
      await ended;
    },
    async close() {
      await kube?.close();
    },
  };
}

export interface TearingDown {
  readonly cache: string;
  readonly keepLogs?: boolean;
  readonly onStep: (line: string) => void;
}

/** Ends and removes what this run or an earlier one made, whole or broken. Resolves to where its logs are kept, in the cache. */
export async function tearDown({ cache, keepLogs = false, onStep }: TearingDown): Promise<readonly string[]> {
  const late = await endDaemon();
  const logs = keepLogs || late ? keptLogs() : [];
  try {
    await endSupervisor();
  } finally {
    await rackDown(rack, { onStep });
  }
  rmSync(STAGE.dir, { recursive: true, force: true });
  if (late) throw new Error(`the daemon did not end within ${STOP_MS / 1000} s of SIGTERM and was killed; its log: ${logs.join(", ")}`);
  return logs;

  function keptLogs(): readonly string[] {
    try {
      return copyLogs(join(cache, "logs"));
    } catch (error) {
      // a full disk is no reason to leave servers running
      onStep(`the logs cannot be kept: ${reasonOf(error)}`);
      return [];
    }
  }
}

/** With all that it runs. One that was killed left children and its records: the next one knows them by these. */
async function endSupervisor(): Promise<void> {
  if (!existsSync(STAGE.supervisor)) return;
  const supervisor = await startEmbeddedSupervisor({ dir: STAGE.data, log: pino({ level: "silent" }) });
  await supervisor.shutdown();
}

/** The daemon, if it still runs: known by its pid and by the configuration in its command line. Resolves to whether it had to be killed. */
async function endDaemon(): Promise<boolean> {
  const daemon = existsSync(STAGE.daemonPid) ? identify(Number(readFileSync(STAGE.daemonPid, "utf8"))) : undefined;
  if (!daemon || !processOf(daemon.pid)?.command.includes(STAGE.config)) return false;
  process.kill(daemon.pid, "SIGTERM");
  if (await gone(daemon, STOP_MS)) return false;
  await kill(daemon);
  return true;
}

/** What the daemon and the rack's chassis said, for as long as a person wants it. */
function copyLogs(into: string): readonly string[] {
  const at = new Date().toISOString().replaceAll(":", "");
  const said = [STAGE.daemonLog, join(STAGE.rack, "chassis.log")].filter((file) => existsSync(file) && statSync(file).size > 0);
  mkdirSync(into, { recursive: true });
  return said.map((file) => {
    const place = join(into, `demo-${at}-${basename(file)}`);
    copyFileSync(file, place);
    return place;
  });
}

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { type Artifacts, readArtifacts } from "../../src/config/artifacts.ts";
import { connectKube, type Kube } from "../../src/kube/index.ts";
import { defaultRack, type RackStatus, rackDown, rackUp } from "../../src/rack/index.ts";
import { connectSupervisor } from "../../src/supervise/index.ts";
import { until } from "./steps.ts";

/** Everything the demo runs: a rack, a daemon inside its namespace, and a client of the host control plane. */
export interface Stage {
  readonly artifacts: Artifacts;
  readonly dir: string;
  readonly daemonLog: string;
  readonly rack: RackStatus;
  readonly netns: string;
  /** Of the host control plane; there once the daemon has been ready. */
  readonly kubeconfig: string;
  host(): Kube;
  /** What `ironwright` says, asked with the daemon's configuration. */
  ironwright(args: readonly string[]): string;
  startDaemon(): Promise<void>;
  /** SIGKILL, as if the machine had lost its nerve. */
  killDaemon(): Promise<void>;
  /** Ends and removes all of it; the daemon's log is kept when `keepLog` says so, and its new place returned. */
  tearDown(keepLog: boolean): Promise<string | undefined>;
}

const STOP_MS = 30_000;
const READY_MS = 180_000;
const PID_FILE = "daemon.pid";
/** Not in somebody's home, which nobody else may pass: tenants' processes and their gateway have users of their own. */
export const STAGE_DIR = "/var/tmp/ironwright-demo";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const cli = join(repository, "src", "cli", "main.ts");

export async function buildStage(cache: string, onStep: (line: string) => void): Promise<Stage> {
  const artifacts = readArtifacts(join(cache, "artifacts.json"));
  const dir = STAGE_DIR;
  await tearDownLeftovers(onStep);
  mkdirSync(join(dir, "data"), { recursive: true, mode: 0o711 });
  const spec = rackOf(dir);
  const netns = `iw-${spec.name}`;
  const rack = await rackUp(spec, { ovmf: artifacts.ovmf, onStep });

  const config = join(dir, "ironwright.yaml");
  writeFileSync(
    config,
    stringify({
      dataDir: join(dir, "data"),
      artifacts: join(cache, "artifacts.json"),
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

  const daemonLog = join(dir, "daemon.log");
  const kubeconfig = join(dir, "data", "kubeconfig");
  let daemon: ChildProcess | undefined;
  let kube: Kube | undefined;

  const end = async (signal: NodeJS.Signals) => {
    const child = daemon;
    daemon = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    const late = setTimeout(() => {
      onStep(`the daemon did not end within ${STOP_MS / 1000} s of ${signal}: it is killed`);
      child.kill("SIGKILL");
    }, STOP_MS);
    await ended;
    clearTimeout(late);
    if (signal === "SIGTERM" && child.signalCode === "SIGKILL")
      throw new Error(`the daemon did not end within ${STOP_MS / 1000} s; see its log`);
  };

  return {
    artifacts,
    dir,
    daemonLog,
    rack,
    netns,
    kubeconfig,
    host() {
      kube ??= connectKube(readFileSync(kubeconfig, "utf8"));
      return kube;
    },
    ironwright(args) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [cli, "--config", config, ...args], { encoding: "utf8" });
      if (status !== 0) throw new Error(`ironwright ${args.join(" ")} failed: ${stderr}`);
      return stdout;
    },
    async startDaemon() {
      const log = openSync(daemonLog, "a");
      const from = fstatSync(log).size;
      // straight into its log and in a session of its own: it may outlive this program, and a terminal's Ctrl-C is not its
      const child = spawn("ip", ["netns", "exec", netns, process.execPath, cli, "--config", config, "serve"], {
        cwd: repository,
        stdio: ["ignore", log, log],
        detached: true,
      });
      closeSync(log);
      child.unref();
      daemon = child;
      writeFileSync(join(dir, PID_FILE), String(child.pid));
      const said = () => readFileSync(daemonLog).subarray(from).toString();
      await until("the daemon is ready", READY_MS, new AbortController().signal, async () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`the daemon ended (${child.signalCode ?? child.exitCode}) before it was ready:\n${said().slice(-1_500)}`);
        return said().includes('"msg":"ready"') ? true : undefined;
      });
    },
    killDaemon: () => end("SIGKILL"),
    async tearDown(keepLog) {
      await kube?.close();
      const late = await end("SIGTERM").then(
        () => undefined,
        (error: unknown) => error,
      );
      const kept = (keepLog || late) && existsSync(daemonLog) ? keep(daemonLog, cache) : undefined;
      await tearDownLeftovers(onStep);
      if (late) throw late;
      return kept;
    },
  };
}

/** Ends and removes what an earlier, kept or broken, run left. */
export async function tearDownLeftovers(onStep: (line: string) => void): Promise<void> {
  const dir = STAGE_DIR;
  await endLeftDaemon(dir);
  const socket = join(dir, "data", "run", "supervisor.sock");
  if (existsSync(socket)) await connectSupervisor(socket).shutdown();
  await rackDown(rackOf(dir), { onStep });
  rmSync(dir, { recursive: true, force: true });
}

/** The daemon of an earlier run, if it still runs: known by its pid and by the configuration in its command line. */
async function endLeftDaemon(dir: string): Promise<void> {
  const file = join(dir, PID_FILE);
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8"));
  const runs = () =>
    existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(join(dir, "ironwright.yaml"));
  if (!runs()) return;
  process.kill(pid, "SIGTERM");
  await until("the earlier daemon's end", STOP_MS, new AbortController().signal, async () => (runs() ? undefined : true));
}

function rackOf(dir: string) {
  return defaultRack({ directory: join(dir, "rack") });
}

function keep(file: string, cache: string): string {
  const place = join(cache, "logs", `demo-${new Date().toISOString().replaceAll(":", "")}.log`);
  mkdirSync(dirname(place), { recursive: true });
  renameSync(file, place);
  return place;
}

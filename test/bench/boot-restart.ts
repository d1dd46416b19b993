import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { BootInterface } from "../../src/boot/index.ts";
import { openLeaseLog } from "../../src/boot/lease-log.ts";
import { connectSupervisor } from "../../src/supervise/index.ts";
import { parseIpv4 } from "../../src/wire/index.ts";
import { layPaperWire, PAPER_INTERFACE } from "../flow/paper-rack.ts";
import { type BootPart, type BootPartOptions, percentile } from "./boot-part.ts";
import { cpuSeconds, layWire, type Wire } from "./wire.ts";

const unit = fileURLToPath(new URL("../../deploy/systemd/ironwright.service", import.meta.url));
const launcher = fileURLToPath(new URL("../../bin/ironwright", import.meta.url));
const asker = fileURLToPath(new URL("./dhcp-asker.ts", import.meta.url));

interface Restart {
  /** From SIGKILL to the first answer. */
  readonly silence: number;
  /** The longest that nobody was answered after that, while the rest of the daemon was loaded. */
  readonly pause: number;
  /** CPU seconds of the daemon up to the first answer. */
  readonly cpu: number;
}

interface Gap {
  /** When it ended, milliseconds of the epoch. */
  readonly at: number;
  readonly gapMs: number;
}

/** A network behind a relay, with room for a hundred thousand leases. */
const FAR = { network: "10.96.0.0/14", pool: { from: "10.96.0.10", to: "10.99.255.250" } };

const KILLS = 10;
const LEASES = 100_000;

/** The daemon itself, killed and started again: with nothing on its disk, and with many leases. */
export async function benchRestart({ quick, say }: BootPartOptions): Promise<BootPart> {
  const wire = layPaperWire("iw-bench-restart", layWire);
  const figures: Record<string, number> = {};
  try {
    for (const [name, leases] of [
      ["ironwright serve", 0],
      [`ironwright serve with ${LEASES} leases`, LEASES],
    ] as const) {
      const restarts = await restartsOfServe(wire, PAPER_INTERFACE, quick ? 2 : KILLS, leases);
      const all = (of: (restart: Restart) => number) => restarts.map(of);
      const silences = all(({ silence }) => silence);
      figures[`${name} answering again after SIGKILL p50 s`] = round(percentile(silences, 0.5));
      figures[`${name} answering again after SIGKILL p99 s`] = round(percentile(silences, 0.99));
      figures[`${name} CPU s to its first answer p50`] = round(
        percentile(
          all(({ cpu }) => cpu),
          0.5,
        ),
      );
      figures[`${name} longest pause while the rest is loaded s`] = round(Math.max(...all(({ pause }) => pause)));
      say(`${name} after SIGKILL: ${silences.map((one) => one.toFixed(2)).join(", ")} s`);
    }
  } finally {
    wire.remove();
  }
  const table = [["ironwright serve", "figure"], ...Object.entries(figures).map(([name, value]) => [name, String(value)])];
  return { ratios: {}, figures, table };
}

/**
 * `ironwright serve`, killed and started again as systemd does: how long nobody was answered, in seconds.
 * @param leases it finds so many on its disk each time
 */
async function restartsOfServe(wire: Wire, at: BootInterface, kills: number, leases: number): Promise<Restart[]> {
  const dataDir = join(wire.directory, `daemon-${leases}`);
  if (leases > 0) await leaveLeases(join(dataDir, "leases"), leases);
  const env = { ...(process.env as Record<string, string>), NODE_COMPILE_CACHE: join(wire.directory, "code") };
  const file = writeConfig(wire, { ...at, subnets: [FAR] }, dataDir);
  const gaps: Gap[] = [];
  const asking = wire.start(wire.there, process.execPath, [asker]);
  createInterface({ input: asking.stdout ?? process.stdin }).on("line", (line) => gaps.push(JSON.parse(line)));
  const restarts: Restart[] = [];
  const restartMs = Number(/^RestartSec=(\d+)ms$/m.exec(readFileSync(unit, "utf8"))?.[1]);
  if (Number.isNaN(restartMs)) throw new Error(`${unit} does not say when it is started again`);
  let killed = 0;
  try {
    for (let life = 0; life <= kills; life++) {
      const daemon = wire.start(wire.here, launcher, ["--config", file, "serve"], env);
      daemon.stdout?.resume();
      let said = "";
      daemon.stderr?.on("data", (part) => (said += part));
      const ended = once(daemon, "exit");
      const answers = () => gaps.filter((gap) => gap.at > killed);
      // by then all of it is loaded, and its code kept for the next one
      const isUp = () => answers().length > 0 && said.includes("does not answer yet");
      let cpu = 0;
      for (const end = performance.now() + 60_000; !isUp(); await wait(10)) {
        if (answers().length === 0) cpu = cpuSeconds(daemon.pid ?? 0);
        if (performance.now() > end || daemon.exitCode !== null) throw new Error(`ironwright serve does not come up: ${said.slice(-2000)}`);
      }
      const [first, ...later] = answers();
      const pause = Math.max(0, ...later.map((gap) => gap.gapMs)) / 1000;
      if (life > 0) restarts.push({ silence: (first?.gapMs ?? 0) / 1000, pause, cpu });
      daemon.kill("SIGKILL");
      killed = Date.now();
      await ended;
      if (life < kills) await wait(restartMs);
    }
    return restarts;
  } finally {
    asking.kill();
    await connectSupervisor(join(dataDir, "run", "supervisor.sock"))
      .shutdown()
      .catch(() => {}); // not there when no daemon came up
  }
}

/** As people run it, its control plane and Redis elsewhere, at ports that refuse: what is measured is the daemon alone. */
function writeConfig(wire: Wire, at: BootInterface, dataDir: string): string {
  const cluster = { name: "c", cluster: { server: "https://127.0.0.1:9" } };
  const context = { name: "c", context: { cluster: "c", user: "c" } };
  const user = { name: "c", user: { token: "t" } };
  const kubeconfig = join(wire.directory, "kubeconfig");
  const some = { apiVersion: "v1", kind: "Config", "current-context": "c", clusters: [cluster], users: [user], contexts: [context] };
  writeFileSync(kubeconfig, stringify(some));
  const artifacts = join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json");
  const file = join(wire.directory, "ironwright.yaml");
  const config = { dataDir, artifacts, boot: { interfaces: [at] }, host: { kubeconfig }, redis: { url: "redis://127.0.0.1:9" } };
  writeFileSync(file, stringify(config));
  return file;
}

async function leaveLeases(directory: string, count: number): Promise<void> {
  const log = openLeaseLog({ directory });
  const from = parseIpv4(FAR.pool.from) ?? 0;
  const expires = Date.now() + 86_400_000;
  for (let one = 0; one < count; one++) {
    const mac = `02:10:${one
      .toString(16)
      .padStart(8, "0")
      .replace(/(..)(?!$)/g, "$1:")}`;
    log.put({ address: from + one, client: `mac:${mac}`, mac, expires });
  }
  await log.flush();
  await log.close();
}

function round(value: number): number {
  return Number(value.toFixed(3));
}

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ipaddr from "ipaddr.js";
import { startApi } from "./api/index.ts";
import { type Autoscaler, autoscaler } from "./autoscale/index.ts";
import { backupSchedule, nextBackup, readRestored, writeRestored } from "./backup/index.ts";
import { bmcKeeper, connectBmc } from "./bmc/index.ts";
import { type BootPlane, netbootingFile } from "./boot/index.ts";
import type { First } from "./boot-first.ts";
import type { Artifacts } from "./config/artifacts.ts";
import { type Config, redacted } from "./config/index.ts";
import { systemClock } from "./core/clock.ts";
import { parseDuration } from "./core/duration.ts";
import { isError } from "./core/errors.ts";
import { SYSTEM_NAMESPACE } from "./core/names.ts";
import { ONE, parseQuantity, type Quantity } from "./core/quantity.ts";
import { OS_IMAGE } from "./core/resources.ts";
import { connectKube, type EventRecorder, eventRecorder, installCrds, installRoles, type Kube, NAMESPACE } from "./kube/index.ts";
import { type MachineController, machineController, quarantineRestored } from "./machine/index.ts";
import type { Logger } from "./observe/index.ts";
import {
  connectSupervisor,
  hostPkiDir,
  renewHostPki,
  type Supervisor,
  startEmbeddedSupervisor,
  startHost,
  watchHostCertificates,
} from "./supervise/index.ts";
import {
  KEY_TIMES,
  shardDirectories,
  type TenantController,
  type TenantOptions,
  tenantController,
  type UsageMeter,
  usageMeter,
} from "./tenant/index.ts";
import { type OperationJob, operationQueue, operationWorker, type RedisAddress } from "./work/index.ts";

/** The running daemon. */
export interface Daemon {
  /** Admin kubeconfig of the host control plane, as a file. */
  readonly kubeconfig: string;
  /** Ends the daemon's own work, all but the boot plane. Control planes go on: they are the supervisor's. */
  stop(): Promise<void>;
}

export interface Surroundings {
  readonly config: Config;
  readonly artifacts: Artifacts;
  readonly log: Logger;
  /** Aborts to end a start that still waits for the host control plane or Redis; what is up already is stopped. */
  readonly stopping: AbortSignal;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

/** Builds the parts and starts them in the order in which they need each other, when the boot plane is up. */
export async function startDaemon(surroundings: Surroundings, { bootPlane, metrics }: First): Promise<Daemon> {
  const { config, artifacts, log, stopping } = surroundings;
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const end of stops.reverse()) await end().catch((error: unknown) => log.error({ err: error }, "a part did not stop cleanly"));
  };
  try {
    if (config.backup) nextBackup(config.backup, undefined, systemClock.now());
    let scaler: Autoscaler | undefined;
    let usage: UsageMeter | undefined;
    const api = await startApi(
      {
        boot: bootPlane,
        metrics,
        explainPod: (tenant, pod) => (scaler ? scaler.explainPod(tenant, pod) : "starting"),
        topTenants: async () => (usage ? { at: systemClock.now().toISOString(), items: await usage.usage() } : "starting"),
        log: log.child({ part: "api" }),
      },
      { socket: join(config.dataDir, "run", "daemon.sock"), metrics: config.api.metrics },
    );
    stops.push(() => api.stop());

    const host = await insist(() => hostOf(surroundings), surroundings);
    const kube = connectKube(readFileSync(host.kubeconfig, "utf8"));
    stops.push(() => kube.close());
    await insist(() => prepareHost(kube, artifacts, log), surroundings);

    const clock = systemClock;
    const random = randomBytes;
    const events = eventRecorder({ kube, component: "ironwright", clock, log });
    const part = (name: string) => log.child({ part: name });
    // nobody may do anything to a machine before that
    await insist(() => afterRestore(surroundings, { kube, bootPlane, events }), surroundings);

    const certificates = watchHostCertificates({
      directories: () => ({ host: hostPkiDir(config.dataDir), ...shardDirectories(join(config.dataDir, "datastore")) }),
      renew: async (now) => {
        // an external one has its own authorities
        if (!config.host.kubeconfig) await renewHostPki({ dataDir: config.dataDir, listen: config.host }, now);
      },
      clock,
      log: part("host"),
    });
    stops.push(() => certificates.stop());
    const unscrape = metrics.onScrape(() => {
      for (const { name, ends } of certificates.list())
        metrics.hostCertificateSeconds.set({ name }, (ends.getTime() - clock.now().getTime()) / 1000);
    });
    stops.push(async () => unscrape());

    const tenants: TenantController = tenantController({
      kube,
      supervisor: host.supervisor,
      kubeBin: artifacts.kube.bin,
      kubeVersion: artifacts.kube.version,
      dataDir: config.dataDir,
      listen: config.tenants,
      networks: siteNetworks(config),
      datastore: {
        tenantsPerShard: config.tenants.datastore.tenantsPerShard,
        quotaBytes: config.tenants.datastore.quotaMebibytes * 2 ** 20,
      },
      metrics,
      ...isolationOf(surroundings),
      warm: config.tenants.warm,
      clock,
      random,
      log: part("tenant"),
      events,
      keyTimes: { ...KEY_TIMES, lives: { ...KEY_TIMES.lives, ...livesOf(config.tenants.certificates) } },
    });
    const queue = await unless(stopping, operationQueue({ redis: host.redis, log: part("work") }));
    stops.push(() => queue.close());
    const bmcs = bmcKeeper(connectBmc);
    stops.push(() => bmcs.close());
    const machines: MachineController = machineController({
      kube,
      bootPlane,
      tenants,
      connectBmc: bmcs.connect,
      queue,
      playbooksDir: join(root, "playbooks"),
      dataDir: config.dataDir,
      clock,
      random,
      log: part("machine"),
      events,
    });
    const scaling: Autoscaler = autoscaler({ kube, tenants, clock, log: part("autoscale"), events });

    await tenants.start();
    stops.push(() => tenants.stop());
    await machines.start();
    stops.push(() => machines.stop());
    const worker = await operationWorker({
      redis: host.redis,
      log: part("work"),
      run: (job: OperationJob, signal: AbortSignal) => machines.run(job, signal),
    });
    stops.push(() => worker.close());
    await scaling.start();
    stops.push(() => scaling.stop());
    scaler = scaling;
    const meter = usageMeter({
      kube,
      measured: () => tenants.measured(),
      swap: () => host.supervisor.swap(),
      metrics,
      clock,
      log: part("tenant"),
    });
    stops.push(() => meter.stop());
    usage = meter;

    if (config.backup) {
      const backups = backupSchedule({
        dataDir: config.dataDir,
        plan: config.backup,
        tenants: config.backup.tenants,
        config: redacted(config),
        versions: { ironwright: version, kubernetes: artifacts.kube.version },
        metrics,
        events,
        about: { apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } },
        clock,
        random,
        log: part("backup"),
      });
      stops.push(() => backups.stop());
      backups.start();
    }

    log.info({ kubeconfig: host.kubeconfig }, "ready");
    return { kubeconfig: host.kubeconfig, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A data directory that came from a backup: what it says of machines may have been overtaken. */
async function afterRestore(
  { config, log }: Surroundings,
  { kube, bootPlane, events }: { kube: Kube; bootPlane: BootPlane; events: EventRecorder },
): Promise<void> {
  const restored = readRestored(config.dataDir);
  if (!restored || restored.handled) return;
  if (restored.state) {
    const intents = new Map(bootPlane.records().map(({ machine, intent }) => [machine, intent]));
    const bootIntent = (machine: string) => intents.get(machine);
    await quarantineRestored({
      kube,
      from: restored,
      bootIntent,
      now: () => systemClock.now(),
      log: log.child({ part: "restore" }),
      events,
    });
  }
  writeRestored(config.dataDir, { ...restored, handled: true });
}

function isolationOf({ config, artifacts }: Surroundings): Pick<TenantOptions, "isolation"> {
  const { isolation, uids, limits, sleep, frontDoor, domain } = config.tenants;
  if (isolation === "none") return {};
  const amount = (text: string, of: Quantity) => Number((parseQuantity(text) ?? 0n) / of);
  const { cpu, memory, pids } = limits;
  return {
    isolation: {
      native: artifacts.native,
      uids,
      swap: { bytes: amount(sleep.swap, ONE), medium: sleep.swapMedium, encryption: sleep.swapEncryption },
      limits: { cpuMillis: amount(cpu, ONE / 1000n), memoryBytes: amount(memory, ONE), pids },
      frontDoor,
      domain,
    },
  };
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
const COMES_BACK = ["IRW_KUBE_UNREACHABLE", "IRW_CHILD_NOT_READY", "IRW_SUPERVISOR_UNREACHABLE"] as const;

/** Tries again until the control plane is there: meanwhile the boot plane answers, and may boot the very server that carries it. */
async function insist<T>(start: () => Promise<T>, { log, stopping }: Surroundings): Promise<T> {
  for (let afterMs = FIRST_RETRY_MS; ; afterMs = Math.min(afterMs * 2, LAST_RETRY_MS)) {
    try {
      return await unless(stopping, start());
    } catch (error) {
      if (!comesBack(error)) throw error;
      log.warn({ err: error, nextTryMs: afterMs }, "the host control plane does not answer yet; the boot plane goes on meanwhile");
      await systemClock.sleep(afterMs, stopping);
    }
  }
}

/** An apiserver whose etcd is away answers, and refuses by 5xx. */
function comesBack(error: unknown): boolean {
  return COMES_BACK.some((code) => isError(error, code)) || (isError(error, "IRW_KUBE_REFUSED") && error.facts.status >= 500);
}

/** What is awaited, or the signal's reason when it aborts first. */
function unless<T>(signal: AbortSignal, awaited: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    awaited.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp));
  });
}

/** The networks machines boot on: a tenant whose pods had the same addresses could not be reached. */
function siteNetworks({ boot }: Config): readonly { readonly address: string; readonly whose: string }[] {
  return boot.interfaces.flatMap(({ name, address, subnets }) =>
    [address, ...subnets.map((one) => one.network)].map((cidr) => ({
      address: `${ipaddr.IPv4.networkAddressFromCIDR(cidr).toString()}/${cidr.split("/")[1]}`,
      whose: `a network of the boot plane's ${name}`,
    })),
  );
}

/** The host control plane and Redis: embedded, or the external ones the configuration names. */
function livesOf({ life, people }: Config["tenants"]["certificates"]) {
  return { leafMs: parseDuration(life) ?? 0, peopleMs: parseDuration(people) ?? 0 };
}

async function hostOf({ config, artifacts, log }: Surroundings) {
  const supervisor = config.supervisor.embedded
    ? await startEmbeddedSupervisor({ dir: config.dataDir, log: log.child({ part: "supervise" }) })
    : connectSupervisor(config.supervisor.socket ?? join(config.dataDir, "run", "supervisor.sock"));
  await advertise(supervisor, config, artifacts);
  const embedded = await startHost({
    supervisor,
    dataDir: config.dataDir,
    kubeBin: artifacts.kube.bin,
    redisServer: artifacts.redis,
    listen: { address: config.host.address, port: config.host.port },
    log: log.child({ part: "host" }),
    external: { kubeconfig: config.host.kubeconfig, redis: config.redis !== undefined },
  });
  const redis: RedisAddress = config.redis ?? embedded.redis;
  return { supervisor, kubeconfig: embedded.kubeconfig, redis };
}

/** Where it is asked for: answers router solicitations of machines that boot from here, so that iPXE does not wait 16 s for a router. */
async function advertise(supervisor: Supervisor, config: Config, artifacts: Artifacts): Promise<void> {
  const wanted = config.boot.interfaces.filter(({ mode, routerAdvertisements }) => mode !== "off" && routerAdvertisements);
  const children = new Set(wanted.map(({ name }) => advertiser(name)));
  // one of an interface that the configuration no longer names must not go on answering there
  for (const { name } of await supervisor.list()) {
    if (name.startsWith(advertiser("")) && !children.has(name)) await supervisor.remove(name);
  }
  for (const { name } of wanted) {
    const command = [artifacts.native, "advertise", "--interface", name, "--allow", netbootingFile(config.dataDir)];
    await supervisor.ensure({ name: advertiser(name), command, logFile: join(config.dataDir, "logs", `${advertiser(name)}.log`) });
  }
}

function advertiser(interfaceName: string): string {
  return `advertise-${interfaceName}`;
}

/** What the daemon needs to find on the host control plane, whether it is ours or somebody's. */
async function prepareHost(kube: Kube, artifacts: Artifacts, log: Logger): Promise<void> {
  await installCrds(kube, join(root, "deploy", "crds"), log);
  await kube.apply(NAMESPACE, { apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } });
  await installRoles(kube, join(root, "deploy", "rbac"));
  await kube.apply(OS_IMAGE, {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "OSImage",
    metadata: { name: "ironwright-node" },
    spec: {
      url: pathToFileURL(artifacts.node.image).href,
      sha256: artifacts.node.sha256,
      format: artifacts.node.format,
      sizeBytes: artifacts.node.sizeBytes,
    },
  });
}

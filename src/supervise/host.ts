import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { readIfThere, writeAtomically } from "./files.ts";
import {
  apiserverChild,
  auditPolicy,
  authenticationConfiguration,
  controllerManagerChild,
  etcdChild,
  redisChild,
  redisConfiguration,
  serverUrl,
} from "./host-children.ts";
import { encryptionConfiguration, type HostPki, hostPki, kubeconfigOf, serverOf } from "./host-pki.ts";
import { freePort, isFree } from "./ports.ts";
import type { Supervisor } from "./supervisor.ts";

export interface HostOptions {
  readonly supervisor: Supervisor;
  readonly dataDir: string;
  /** Directory with the executables etcd and kube-apiserver. */
  readonly kubeBin: string;
  readonly redisServer: string;
  /** Port 0 takes a free one, and keeps it. */
  readonly listen: { readonly address: string; readonly port: number };
  readonly log: Logger;
  /** What is run elsewhere and not here. */
  readonly external?: { readonly kubeconfig?: string | undefined; readonly redis?: boolean };
}

export interface Host {
  /** File of the administrator's kubeconfig: `<dataDir>/kubeconfig`, or the external one. */
  readonly kubeconfig: string;
  /** Unix socket of the embedded Redis; nobody listens there when Redis is external. */
  readonly redis: { readonly path: string };
}

const READY_TIMEOUT_MS = 120_000;

/** Starts what is not running of: host etcd, host apiserver, Redis. Resolves when all answer. */
export async function startHost(options: HostOptions): Promise<Host> {
  const { supervisor, dataDir, log, external = {} } = options;
  const began = Date.now();
  const [kubeconfig, redis] = await Promise.all([
    external.kubeconfig ? Promise.resolve(external.kubeconfig) : startControlPlane(options),
    startRedis(options, external.redis !== true),
  ]);
  log.info({ ms: Date.now() - began, dataDir, embedded: { kube: !external.kubeconfig, redis: !external.redis } }, "host is up");
  await forget(supervisor, [
    ...(external.kubeconfig ? ["host-controller-manager", "host-apiserver", "host-etcd"] : []),
    ...(external.redis ? ["redis"] : []),
  ]);
  return { kubeconfig, redis: { path: redis } };
}

async function startControlPlane(options: HostOptions): Promise<string> {
  const { supervisor, dataDir, listen } = options;
  const state = stateOf(dataDir, "host");
  mkdirSync(state("etcd"), { recursive: true, mode: 0o700 });
  const ports = await keptPorts(state("ports.json"), listen.port, supervisor);
  const pki = await renewHostPki(options, new Date());
  const places = {
    ...options,
    listen: { address: listen.address, port: ports.apiserver },
    etcdPort: ports.etcd,
    etcdPeerPort: ports.etcdPeer,
    pki: pki.file,
    state,
    logs: join(dataDir, "logs"),
  };
  encryptionConfiguration(state("encryption.yaml"));
  writeAtomically(state("authentication.yaml"), authenticationConfiguration());
  writeAtomically(state("audit.yaml"), auditPolicy());
  const kubeconfig = join(dataDir, "kubeconfig");
  writeAtomically(kubeconfig, kubeconfigOf("ironwright", serverUrl(places.listen), pki.serverCa, pki.admin));
  const [etcd, apiserver] = [etcdChild(places), apiserverChild(places)];
  await supervisor.ensure(etcd);
  // it waits for etcd by itself, and has much to do before
  await supervisor.ensure(apiserver);
  await supervisor.waitReady(etcd.name, { timeoutMs: READY_TIMEOUT_MS });
  await supervisor.waitReady(apiserver.name, { timeoutMs: READY_TIMEOUT_MS });
  // nobody waits for it, and it gives up when there is no apiserver
  await supervisor.ensure(controllerManagerChild(places, kubeconfig));
  return kubeconfig;
}

/** Renews what is due of the embedded control plane's certificates; its servers read the files again by themselves. */
export async function renewHostPki({ dataDir, listen }: Pick<HostOptions, "dataDir" | "listen">, now: Date): Promise<HostPki> {
  const pki = await hostPki(hostPkiDir(dataDir), listen.address === "0.0.0.0" ? [] : [listen.address], now);
  const kubeconfig = readIfThere(join(dataDir, "kubeconfig"));
  const server = kubeconfig && serverOf(kubeconfig);
  if (server) writeAtomically(join(dataDir, "kubeconfig"), kubeconfigOf("ironwright", server, pki.serverCa, pki.admin));
  return pki;
}

/** Where the embedded control plane's certificates are. */
export function hostPkiDir(dataDir: string): string {
  return join(dataDir, "pki", "host");
}

async function startRedis(options: HostOptions, wanted: boolean): Promise<string> {
  const { supervisor, dataDir } = options;
  const state = stateOf(dataDir, "redis");
  const socket = state("redis.sock");
  if (!wanted) return socket;
  mkdirSync(state(), { recursive: true, mode: 0o700 });
  writeAtomically(state("redis.conf"), redisConfiguration(state(), socket));
  const child = redisChild({ ...options, state, logs: join(dataDir, "logs") }, socket);
  await supervisor.ensure(child);
  await supervisor.waitReady(child.name, { timeoutMs: READY_TIMEOUT_MS });
  return socket;
}

/** What ran here before the configuration named an external one. */
async function forget(supervisor: Supervisor, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const known = new Set((await supervisor.list()).map((child) => child.name));
  for (const name of names) if (known.has(name)) await supervisor.remove(name);
}

function stateOf(dataDir: string, part: string): (...path: string[]) => string {
  return (...path) => join(dataDir, part, ...path);
}

interface Ports {
  readonly apiserver: number;
  readonly etcd: number;
  readonly etcdPeer: number;
}

/** Ports chosen once and kept, as long as they are ours or free. */
async function keptPorts(file: string, wanted: number, supervisor: Supervisor): Promise<Ports> {
  const before = JSON.parse(readIfThere(file) ?? "{}") as Partial<Ports>;
  const running = new Set((await supervisor.list()).filter((child) => child.pid !== undefined).map((child) => child.name));
  const keep = async (port: number | undefined, child: string, address: string) =>
    port !== undefined && (running.has(child) || (await isFree(port, address))) ? port : freePort(address);
  const ports = {
    apiserver: wanted !== 0 ? wanted : await keep(before.apiserver, "host-apiserver", "127.0.0.1"),
    etcd: await keep(before.etcd, "host-etcd", "127.0.0.1"),
    etcdPeer: await keep(before.etcdPeer, "host-etcd", "127.0.0.1"),
  };
  writeAtomically(file, JSON.stringify(ports));
  return ports;
}

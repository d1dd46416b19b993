import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { readCertificate } from "./certificate.ts";
import { namespaceOf, type Rack, serialOf, uuidOf } from "./config.ts";
import { askChassis } from "./control.ts";
import { endProcesses, removeNetwork } from "./down.ts";
import {
  addressesOf,
  conflictOf,
  insideCommands,
  ip,
  ipBatch,
  namespaceExists,
  namespacesMounted,
  outsideCommands,
  readHostNetwork,
} from "./network.ts";
import { rackPaths } from "./paths.ts";
import type { Reset } from "./power.ts";
import { identify, isAlive, type ProcessId } from "./process.ts";
import { type RackRecord, readRecord, strangersIn, writeRecord } from "./record.ts";
import { needRights } from "./rights.ts";
import type { RackStatus, ServerStatus } from "./status.ts";

export interface RackUpOptions {
  readonly ovmf: { readonly code: string; readonly vars: string };
  /** One line a step. */
  readonly onStep?: (line: string) => void;
}

/**
 * Makes the rack's network and starts its chassis; the servers stay as they were, powered off at first. Doing it again
 * changes nothing, and mends what a crash left half done.
 * @throws IRW_RACK_RIGHTS where namespaces cannot be made
 * @throws IRW_RACK_CONFLICT before anything is made, when something of the host is in the way
 */
export async function rackUp(rack: Rack, { ovmf, onStep = () => {} }: RackUpOptions): Promise<RackStatus> {
  needRights();
  const description = plain(rack);
  let record = readRecord(rack);
  if (record && !isDeepStrictEqual(record.description, description) && record.chassis && isAlive(record.chassis))
    throw new IronwrightError("IRW_RACK_CONFLICT", { what: `rack ${rack.name} is up with another description in ${rack.directory}` });

  const whole = record?.networkMade && namespaceExists(rack) && isDeepStrictEqual(record.description, description);
  if (record && !whole) {
    await endProcesses(rack, record, onStep);
    await removeNetwork(rack, record, onStep);
    record = undefined;
  }
  record ??= await makeNetwork(rack, description, onStep);
  for (const server of rack.servers) prepareServer(rack, server, ovmf);
  if (!record.chassis || !isAlive(record.chassis)) {
    await endProcesses(rack, record, onStep);
    const chassis = await startChassis(rack, ovmf, (started) => writeRecord(rack, { ...record, chassis: started }));
    onStep(`chassis: ${rack.servers.length} BMCs (process ${chassis.pid})`);
  }
  return rackStatus(rack);
}

async function makeNetwork(rack: Rack, description: unknown, onStep: (line: string) => void): Promise<RackRecord> {
  const conflict = strangersIn(rack) ?? conflictOf(rack, await readHostNetwork());
  if (conflict) throw new IronwrightError("IRW_RACK_CONFLICT", { what: conflict });
  const namespace = namespaceOf(rack);
  const owner = `ironwright-rack-${randomBytes(6).toString("hex")}`;
  const record: RackRecord = { owner, madeMount: !namespacesMounted(), networkMade: false, description };
  writeRecord(rack, record);

  await ip(["netns", "add", namespace]);
  await ipBatch(outsideCommands(rack, owner));
  await ipBatch(insideCommands(rack, owner), namespace);
  // router advertisements need a link-local address; a host without IPv6 does without
  const { provisioning, outside } = addressesOf(rack);
  await ip(["-n", namespace, "addr", "add", "fe80::1/64", "dev", provisioning.name, "nodad"]).catch(() => "");
  const made = { ...record, networkMade: true };
  writeRecord(rack, made);
  onStep(
    `network: namespace ${namespace} with ${provisioning.name} ${provisioning.address}; from here by ${outside.name} ${outside.address}`,
  );
  return made;
}

/** Disks and firmware variables, where there are none yet. */
function prepareServer(rack: Rack, server: Rack["servers"][number], ovmf: RackUpOptions["ovmf"]): void {
  const at = rackPaths(rack.directory).server(server.name);
  mkdirSync(at.directory, { recursive: true, mode: 0o700 });
  for (const [index, disk] of server.disks.entries()) {
    const file = at.disk(index);
    const bytes = Math.round(disk.sizeGiB * 1_024) * 1_024 * 1_024;
    if (!existsSync(file)) closeSync(openSync(file, "w", 0o600));
    if (statSync(file).size < bytes) truncateSync(file, bytes);
  }
  if (server.firmware === "uefi" && !existsSync(at.vars)) copyFileSync(ovmf.vars, at.vars);
}

async function startChassis(rack: Rack, ovmf: RackUpOptions["ovmf"], onStarted: (process: ProcessId) => void): Promise<ProcessId> {
  const paths = rackPaths(rack.directory);
  writeFileSync(paths.chassis, JSON.stringify({ rack: plain(rack), directory: rack.directory, ovmf }), { mode: 0o600 });
  const log = openSync(paths.chassisLog, "a");
  // published, this file is JavaScript, and so is the chassis
  const program = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./chassis.ts" : "./chassis.js", import.meta.url));
  const child = spawn("ip", ["netns", "exec", namespaceOf(rack), process.execPath, program, paths.chassis], {
    detached: true,
    stdio: ["ignore", log, log],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  closeSync(log);
  child.unref();
  let ended: string | undefined;
  child.once("error", (error) => {
    ended = reasonOf(error);
  });
  child.once("exit", (code, signal) => {
    ended = `ended with ${signal ?? code}`;
  });
  const id = child.pid === undefined ? undefined : identify(child.pid);
  if (id) onStarted(id);
  const deadline = performance.now() + 30_000;
  for (;;) {
    const answer = await askChassis(rack, "/status").catch(reasonOf);
    if (typeof answer !== "string" && id) return id;
    if (ended !== undefined || performance.now() > deadline) {
      const said = readFileSync(paths.chassisLog, "utf8").trim().split("\n").slice(-8).join("\n");
      throw new IronwrightError("IRW_RACK_DOWN", { name: rack.name, reason: `its chassis ${ended ?? "does not answer"}:\n${said}` });
    }
    await wait(50);
  }
}

/** What is there now; of a rack that is down as well. */
export async function rackStatus(rack: Rack): Promise<RackStatus> {
  const answer = await askChassis(rack, "/status").catch((error: unknown) => {
    if (error instanceof IronwrightError && error.code === "IRW_RACK_DOWN") return undefined;
    throw error;
  });
  const { name, directory, subnet } = rack;
  return {
    name,
    namespace: namespaceOf(rack),
    directory,
    subnet,
    up: answer !== undefined,
    servers: answer ?? rack.servers.map((server) => offline(rack, server)),
  };
}

function offline(rack: Rack, server: Rack["servers"][number]): ServerStatus {
  const at = rackPaths(rack.directory).server(server.name);
  return {
    name: server.name,
    power: "Off",
    firmware: server.firmware,
    serial: serialOf(rack, server),
    uuid: uuidOf(rack, server),
    bmc: server.bmc.address,
    certificateSha256: readCertificate(at)?.sha256 ?? "",
    bootMAC: server.bootMAC,
    console: at.console,
    consoleLog: at.consoleLog,
    disks: server.disks.map((_, index) => at.disk(index)),
  };
}

const ACTIONS: Readonly<Record<string, Reset>> = { on: "On", off: "ForceOff", reset: "ForceRestart", shutdown: "GracefulShutdown" };

/** Presses a server's power button: `on`, `off`, `reset`, `shutdown`. */
export async function rackPower(rack: Rack, server: string, action: string): Promise<RackStatus> {
  const reset = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
  const problems = [
    ...(reset ? [] : [`  action: ${JSON.stringify(action)} is none of ${Object.keys(ACTIONS).join(", ")}`]),
    ...(rack.servers.some((one) => one.name === server)
      ? []
      : [`  server: ${JSON.stringify(server)} is none of ${rack.servers.map((one) => one.name).join(", ")}`]),
  ];
  if (!reset || problems.length > 0)
    throw new IronwrightError("IRW_RESOURCE_INVALID", { resource: "the power action", problems: problems.join("\n") });
  await askChassis(rack, "/power", { server, reset });
  return rackStatus(rack);
}

/** The description as it is written to files. */
function plain(rack: Rack): unknown {
  return JSON.parse(JSON.stringify(rack));
}

import { readdirSync, readFileSync, rmSync } from "node:fs";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { namespaceOf, type Rack } from "./config.ts";
import { askChassis } from "./control.ts";
import { addressesOf, aliasOf, ip, namespaceExists, unmountNamespaces } from "./network.ts";
import { rackPaths, serverPaths } from "./paths.ts";
import { gone, kill, processIdSchema } from "./process.ts";
import { type RackRecord, readRecord } from "./record.ts";
import { needRights } from "./rights.ts";

export interface RackDownOptions {
  /** Keep the directory: disks, firmware variables, certificates, logs. */
  readonly keep?: boolean;
  readonly onStep?: (line: string) => void;
}

/** Ends and removes all the rack made: processes, interfaces, namespace, files. Safe after any crash, and on no rack at all. */
export async function rackDown(rack: Rack, { keep = false, onStep = () => {} }: RackDownOptions = {}): Promise<void> {
  const record = readRecord(rack);
  if (!record) return;
  needRights();
  await endProcesses(rack, record, onStep);
  await removeNetwork(rack, record, onStep);
  const paths = rackPaths(rack.directory);
  // the record is the last to go: without it, nothing of the rack would be known as ours
  if (!keep) {
    for (const name of readdirSync(rack.directory)) {
      const file = `${rack.directory}/${name}`;
      if (file !== paths.record) rmSync(file, { recursive: true, force: true });
    }
  }
  rmSync(paths.record, { force: true });
  if (keep) return onStep(`kept: ${rack.directory}`);
  rmSync(rack.directory, { recursive: true, force: true });
  onStep(`removed: ${rack.directory}`);
}

/** The chassis ends its servers; what a crash left of them is killed, by pid and start time. */
export async function endProcesses(rack: Rack, record: RackRecord, onStep: (line: string) => void): Promise<void> {
  if (record.chassis) {
    const asked = await askChassis(rack, "/down").then(
      () => true,
      () => false,
    );
    if (!asked || !(await gone(record.chassis, 10_000))) await kill(record.chassis);
    onStep("servers: off; chassis: ended");
  }
  for (const server of serverDirectories(rack)) {
    const text = attempt(() => readFileSync(serverPaths(server).process, "utf8"));
    const parsed = processIdSchema.safeParse(text === undefined ? undefined : attempt(() => JSON.parse(text)));
    if (parsed.success) await kill(parsed.data);
    rmSync(serverPaths(server).process, { force: true });
  }
}

/** Only what carries this rack's mark goes. */
export async function removeNetwork(rack: Rack, record: RackRecord, onStep: (line: string) => void): Promise<void> {
  const { outside, provisioning } = addressesOf(rack);
  const namespace = namespaceOf(rack);
  const link = await aliasOf(outside.name);
  // without an alias it is ours if we were killed between the two commands that made it
  if (link === record.owner || (link === "" && !record.networkMade)) await ip(["link", "del", "dev", outside.name]);
  else if (link !== undefined) refuse(`the interface ${outside.name} is somebody else's now`);
  if (namespaceExists(rack)) {
    const bridge = await aliasOf(provisioning.name, namespace);
    if (bridge !== record.owner && record.networkMade) refuse(`the network namespace ${namespace} is somebody else's now`);
    // links die with their namespace, but a process in it may keep that alive
    if (bridge !== undefined) await removeLinks(namespace);
    await ip(["netns", "del", namespace]);
    onStep(`network: namespace ${namespace} and ${outside.name} removed`);
  }
  if (record.madeMount) await unmountNamespaces().catch((error: unknown) => onStep(`/run/netns stays mounted: ${reasonOf(error)}`));
}

async function removeLinks(namespace: string): Promise<void> {
  const links = (await ip(["-n", namespace, "-brief", "link", "show"]))
    .split("\n")
    .map((line) => line.split(/[\s@]/)[0] ?? "")
    .filter((name) => name !== "" && name !== "lo");
  for (const name of links) await ip(["-n", namespace, "link", "del", "dev", name]).catch(() => "");
}

function refuse(what: string): never {
  throw new IronwrightError("IRW_RACK_CONFLICT", { what });
}

function serverDirectories(rack: Rack): readonly string[] {
  return readdirSync(rack.directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${rack.directory}/${entry.name}`);
}

function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

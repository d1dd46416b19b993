import { condition, isTrue } from "../../core/conditions.ts";
import { IronwrightError } from "../../core/errors.ts";
import type { Disk } from "../../core/resources.ts";
import { WIPE_UNPROVEN } from "../../core/tenancy.ts";
import { inventoryOf, modelOf } from "../facts.ts";
import { whyUnproven } from "../restored.ts";
import { drop, summaryOf, withFact, withNews, without } from "../status.ts";
import { generation, noteBmc, type Work } from "../work.ts";
import { readBackDisks, wipeDisks } from "./disks.ts";
import type { Facts, Step } from "./saga.ts";

/** From a server nobody knows to one that may be claimed. Reads only, unless its owner consented to erase what is on it. */
export const inspect: readonly Step<Work>[] = [
  { name: "bmc", do: callBmc, undo: "nothing to undo" },
  { name: "network-boot", do: networkBoot, undo: bootOwnDisk },
  { name: "facts", do: readFacts, undo: "nothing to undo" },
  { name: "wipe", do: wipe, undo: "nothing to undo" },
  { name: "read-back", do: readBack, undo: "nothing to undo" },
  { name: "rest", do: rest, undo: "nothing to undo" },
];

async function callBmc(on: Work): Promise<Facts> {
  const bmc = await on.bmc();
  const { manufacturer, model, serial } = await bmc.identity();
  const power = await bmc.power();
  await noteBmc(on);
  // somebody may be working on it: what is on is neither restarted nor taken for proven
  if (whyUnproven(on.machine) && power !== "Off") throw diverged(on, "its power is on");
  await on.update((status) => ({ ...status, power }));
  return { manufacturer, model, serial };
}

async function networkBoot(on: Work): Promise<Facts | undefined> {
  await on.networkBoot();
  return undefined;
}

/** A server whose inspection failed goes back to what it ran. */
async function bootOwnDisk(on: Work): Promise<void> {
  on.tools.bootPlane.remember({ machine: on.name, macs: [on.machine.spec.bootMAC], hostname: on.name, intent: { boot: "disk" } });
}

async function readFacts(on: Work): Promise<Facts> {
  const { facts } = await on.play("inspect/facts", {}, on.installer);
  const inventory = inventoryOf(on.name, facts);
  const message = `${inventory.disks.length} disks, ${inventory.nics.length} NICs, ${inventory.gpus.length} GPUs`;
  await on.update((status, machine) =>
    withFact(
      { ...status, inventory, summary: summaryOf(inventory) },
      { type: "Inspected", status: "True", reason: "Inspected", message, ...generation(machine) },
      on.clock.now(),
    ),
  );
  on.tools.bootPlane.note(on.name, "inspected", `inspected: ${message}`, modelOf(inventory));
  return { disks: String(inventory.disks.length), gpus: String(inventory.gpus.length) };
}

async function wipe(on: Work): Promise<Facts | undefined> {
  if (whyUnproven(on.machine) && carriesData(on).length > 0 && !isTrue(on.machine.status?.conditions, "ConsentMissing")) {
    await bootOwnDisk(on);
    await on.power("ForceOff");
    throw diverged(on, `there is data on it: ${carriesData(on).map(describe).join("; ")}`);
  }
  // who claims it later must not find what its owner left
  return mayErase(on) && carriesData(on).length > 0 ? wipeDisks(on) : undefined;
}

async function readBack(on: Work): Promise<Facts | undefined> {
  if (on.fact("wipe", "methods") === undefined) return undefined;
  const facts = await readBackDisks(on);
  await on.update((status) => {
    if (!status.inventory) return status;
    const disks = status.inventory.disks.map((disk) => ({ ...disk, signatures: [] }));
    return { ...without(status, WIPE_UNPROVEN), inventory: { ...status.inventory, disks } };
  });
  return facts;
}

/** Off and to be had; or, when it carries data that nobody gave away, back to its own disk. */
async function rest(on: Work): Promise<Facts | undefined> {
  const { bootPlane } = on.tools;
  const { machine, clock } = on;
  const data = carriesData(on);
  await bootOwnDisk(on);
  if (data.length > 0 && !mayErase(on)) {
    const error = new IronwrightError("IRW_CONSENT_MISSING", { machine: on.name, disks: data.map(describe).join("; ") });
    const bmc = await on.bmc();
    await bmc.bootNext("Hdd", machine.status?.inventory ? { firmware: machine.status.inventory.firmware } : {}, on.hold);
    await on.power("ForceRestart");
    await on.update((status, now) => {
      const missing = {
        type: "ConsentMissing",
        status: "True",
        reason: error.code,
        message: `${error.message}: ${error.next}`,
        ...generation(now),
      } as const;
      const next = { ...withFact(status, missing, clock.now()), phase: "Discovered" as const };
      return withNews(next, "ConsentMissing", error.message, clock.now());
    });
    on.event("Warning", "ConsentMissing", error.message);
    return undefined;
  }
  await on.power("ForceOff");
  bootPlane.remember({ machine: on.name, macs: [machine.spec.bootMAC], hostname: on.name, intent: { boot: "disk" } });
  await on.update((status) =>
    withNews(
      { ...drop(without(status, "ConsentMissing"), "address"), phase: "Available" },
      "Available",
      "inspected, off, to be had",
      clock.now(),
    ),
  );
  on.event("Normal", "Available", "inspected and powered off");
  return undefined;
}

/** Consent that is older than a restore may have been used up since: see {@link diverged}. */
function mayErase(on: Work): boolean {
  return on.machine.spec.erase === true;
}

function diverged(on: Work, found: string): IronwrightError {
  const { conditions } = on.machine.status ?? {};
  const taken = /backup of (\S+)/.exec(condition(conditions, "Quarantined")?.message ?? "")?.[1] ?? "an earlier time";
  return new IronwrightError("IRW_RESTORE_DIVERGED", { machine: on.name, taken, found });
}

function carriesData(on: Work): readonly Disk[] {
  return (on.machine.status?.inventory?.disks ?? []).filter((disk) => disk.signatures.length > 0);
}

function describe(disk: Disk): string {
  return `${disk.path} with ${disk.signatures.join(", ")}`;
}

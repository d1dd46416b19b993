import { z } from "zod";
import { IronwrightError, isError } from "../../core/errors.ts";
import { type Disk, MACHINE_CLASS, type MachineClass, NODE_CLAIM, type WipeRecord } from "../../core/resources.ts";
import type { Registered } from "../run-playbook.ts";
import type { Work } from "../work.ts";
import type { Facts } from "./saga.ts";

/** At least so many random blocks of each disk are read back. */
const SAMPLES = 1_000;

export type WipePolicy = "discard" | "zero";

const wiped = z.array(z.object({ path: z.string(), method: z.string() }));
const read = z.array(z.object({ path: z.string(), samples: z.int() }));

/** Makes every disk of the inventory blank, not the root disk alone. @throws IRW_WIPE_UNPROVEN */
export async function wipeDisks(on: Work): Promise<Facts> {
  const policy = await policyOf(on);
  const result = await unproven(on, () => on.play("release/wipe", { disks: lines(on), policy }, on.installer));
  const methods = wiped.parse(result.wiped);
  return { policy, methods: methods.map(({ path, method }) => `${path}=${method}`).join(",") };
}

/** Reads the disks back and records the wipe; fails closed. @throws IRW_WIPE_UNPROVEN */
export async function readBackDisks(on: Work): Promise<Facts> {
  const seed = String(on.tools.random(4).readUInt32BE(0) >>> 1);
  const whole = on.fact("wipe", "policy") === "zero";
  const vars = { disks: lines(on), seed, samples: String(SAMPLES), whole: String(whole) };
  const result = await unproven(on, () => on.play("release/read-back", vars, on.installer));
  const samples = new Map(read.parse(result.read).map((one) => [one.path, one.samples]));
  const methods = new Map((on.fact("wipe", "methods") ?? "").split(",").map((pair) => pair.split("=") as [string, string]));
  const disks = inventoryDisks(on).map((disk) => {
    const [method, count] = [methods.get(disk.path), samples.get(disk.path)];
    if (method === undefined || count === undefined || count < SAMPLES)
      throw new IronwrightError("IRW_WIPE_UNPROVEN", { machine: on.name, disk: disk.path, found: "the read-back does not speak of it" });
    return { path: disk.path, serial: disk.serial, method, samples: count, verified: true };
  });
  await on.update((status) => {
    const lastWipe: WipeRecord = { at: on.clock.now().toISOString(), ...(status.lastTenant ? { tenant: status.lastTenant } : {}), disks };
    return { ...status, lastWipe };
  });
  return { seed, samples: String(SAMPLES), whole: String(whole) };
}

/** One disk a line for the scripts; the serial in base64, since it may hold anything. */
function lines(on: Work): string {
  const disks = inventoryDisks(on);
  // a list that came out empty proves nothing
  if (disks.length === 0)
    throw new IronwrightError("IRW_WIPE_UNPROVEN", { machine: on.name, disk: "every disk", found: "the inventory has none" });
  return disks.map((disk) => `${disk.path} ${disk.sizeBytes} ${Buffer.from(disk.serial).toString("base64")}`).join("\n");
}

function inventoryDisks(on: Work): readonly Disk[] {
  return on.machine.status?.inventory?.disks ?? [];
}

/** The scripts name the disk and what they found: `unproven /dev/x …`. */
async function unproven(on: Work, play: () => Promise<Registered>): Promise<Registered> {
  try {
    return await play();
  } catch (error) {
    const said = isError(error, "IRW_STEP_FAILED") ? /^unproven (\S+) (.*)$/m.exec(error.facts.output) : undefined;
    if (!said) throw error;
    throw new IronwrightError("IRW_WIPE_UNPROVEN", { machine: on.name, disk: said[1] ?? "", found: said[2] ?? "" }, error);
  }
}

/** The claim's class decides; when it is gone, the strictest class that selects the machine. */
async function policyOf(on: Work): Promise<WipePolicy> {
  const { kube } = on.tools;
  const { claimRef } = on.machine.spec;
  const claim = claimRef ? await kube.get(NODE_CLAIM, claimRef.name) : undefined;
  const named = claim ? await kube.get(MACHINE_CLASS, claim.spec.nodeClassRef.name) : undefined;
  if (named) return named.spec.wipe ?? "discard";
  const { items } = await kube.list(MACHINE_CLASS);
  return items.some((one) => selects(one, on.machine.metadata.labels ?? {}) && one.spec.wipe === "zero") ? "zero" : "discard";
}

function selects(machineClass: MachineClass, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(machineClass.spec.selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

import { condition, isTrue } from "../../core/conditions.ts";
import { parseTenant } from "../../core/names.ts";
import type { MachineStatus } from "../../core/resources.ts";
import { mayCarryTenant, WIPE_UNPROVEN } from "../../core/tenancy.ts";
import { drop, withNews, without } from "../status.ts";
import { noteBmc, type Work } from "../work.ts";
import { readBackDisks, wipeDisks } from "./disks.ts";
import type { Facts, Step } from "./saga.ts";
import { whenTenantReady } from "./tenant-ready.ts";

/**
 * From a tenant's node to a machine that holds nothing of it. Nothing here is taken back: a release that fails is tried
 * again until the wipe is proven, and the machine is out of use meanwhile.
 */
export const release: readonly Step<Work>[] = [
  { name: "revoke", do: revoke, undo: "nothing to undo" },
  { name: "network-boot", do: networkBoot, undo: "nothing to undo" },
  { name: "wipe", do: wipe, undo: "nothing to undo" },
  { name: "read-back", do: readBack, undo: "nothing to undo" },
  { name: "power-off", do: powerOff, undo: "nothing to undo" },
  { name: "hand-back", do: handBack, undo: "nothing to undo" },
];

/** Before any power-on: whatever the disk still holds, nobody lets it in. */
async function revoke(on: Work): Promise<Facts | undefined> {
  // the status still knows the claim when somebody took it off the spec
  const claim = on.machine.status?.lastClaim ?? on.machine.spec.claimRef;
  const tenant = parseTenant(claim?.tenant ?? "");
  if (!claim || !tenant) return undefined;
  const node = { claim: claim.name, claimUid: claim.uid, nodeName: on.name };
  await whenTenantReady(on, () => on.tools.tenants.revoke(tenant, node));
  return undefined;
}

async function networkBoot(on: Work): Promise<Facts | undefined> {
  if (!mayCarryTenant(on.machine.status)) return undefined;
  await on.networkBoot();
  await noteBmc(on);
  return undefined;
}

/** What no installation wrote to is not ours to wipe: an installation may have been refused for just that. */
async function wipe(on: Work): Promise<Facts | undefined> {
  return mayCarryTenant(on.machine.status) ? wipeDisks(on) : undefined;
}

async function readBack(on: Work): Promise<Facts | undefined> {
  return wasWiped(on) ? readBackDisks(on) : undefined;
}

function wasWiped(on: Work): boolean {
  return on.fact("wipe", "methods") !== undefined;
}

async function powerOff(on: Work): Promise<Facts | undefined> {
  await on.power("ForceOff");
  on.tools.bootPlane.remember({ machine: on.name, macs: [on.machine.spec.bootMAC], hostname: on.name, intent: { boot: "disk" } });
  return undefined;
}

async function handBack(on: Work): Promise<Facts | undefined> {
  const tenant = on.machine.status?.lastTenant;
  await on.updateSpec((machine) => {
    const { claimRef: _gone, ...spec } = machine.spec;
    return { ...machine, spec };
  });
  if (!wasWiped(on)) return handBackUntouched(on);
  await on.update((status) => {
    const inventory = status.inventory && {
      ...status.inventory,
      disks: status.inventory.disks.map((disk) => ({ ...disk, signatures: [] })),
    };
    const blank = drop(without(judged(status), WIPE_UNPROVEN), "lastTenant", "lastClaim", "hostKey", "imageSha256", "address");
    const next = { ...blank, ...(inventory ? { inventory } : {}), phase: "Available" as const };
    return withNews(next, "Available", `wiped and read back${tenant ? ` after ${tenant}` : ""}, off, to be had`, on.clock.now());
  });
  on.event("Normal", "Released", `the wipe was read back${tenant ? `; nothing of ${tenant} is left` : ""}`);
  return undefined;
}

/** Nothing was written to it. Disks that are not what the inspection saw are inspected anew. */
async function handBackUntouched(on: Work): Promise<undefined> {
  await on.update((status) => {
    const refused = condition(status.conditions, "Installed")?.reason === "IRW_CONSENT_MISSING";
    const carriesData = refused || !isTrue(status.conditions, "Inspected");
    const blank = drop(judged(status), "address");
    const next = carriesData
      ? { ...without(blank, "Inspected", "Installed"), phase: "Discovered" as const }
      : { ...blank, phase: "Available" as const };
    return withNews(next, next.phase, carriesData ? "not written to: it carries data" : "not written to, off, to be had", on.clock.now());
  });
  on.event("Normal", "Released", "nothing was written to it");
  return undefined;
}

/** A machine that could not be installed stays out of use until somebody looked at it, and shows why. */
function judged(status: MachineStatus): MachineStatus {
  const condemned = isTrue(status.conditions, "Quarantined") && condition(status.conditions, "Installed")?.status === "False";
  return condemned ? without(status, "Released") : without(status, "Installed", "Released", "Quarantined");
}

import { condition, isTrue } from "../../core/conditions.ts";
import { parseTenant } from "../../core/names.ts";
import { drop, withNews, without } from "../status.ts";
import { noteBmc, type Work } from "../work.ts";
import { readBackDisks, wipeDisks } from "./disks.ts";
import type { Facts, Step } from "./saga.ts";

/**
 * From a tenant's node to a machine that holds nothing of it. Nothing here is taken back: a release that fails is tried
 * again until the wipe is proven, and the machine is out of use meanwhile.
 */
export const release: readonly Step<Work>[] = [
  { name: "revoke", do: revoke, undo: "nothing to undo" },
  { name: "network-boot", do: networkBoot, undo: "nothing to undo" },
  { name: "wipe", do: wipeDisks, undo: "nothing to undo" },
  { name: "read-back", do: readBackDisks, undo: "nothing to undo" },
  { name: "power-off", do: powerOff, undo: "nothing to undo" },
  { name: "hand-back", do: handBack, undo: "nothing to undo" },
];

/** Before any power-on: whatever the disk still holds, nobody lets it in. */
async function revoke(on: Work): Promise<Facts | undefined> {
  const { claimRef } = on.machine.spec;
  const tenant = parseTenant(claimRef?.tenant ?? "");
  if (claimRef && tenant) await on.tools.tenants.revoke(tenant, { claim: claimRef.name, claimUid: claimRef.uid, nodeName: on.name });
  return undefined;
}

async function networkBoot(on: Work): Promise<Facts | undefined> {
  await on.networkBoot();
  await noteBmc(on);
  return undefined;
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
  await on.update((status) => {
    const inventory = status.inventory && {
      ...status.inventory,
      disks: status.inventory.disks.map((disk) => ({ ...disk, signatures: [] })),
    };
    // a machine that could not be installed stays out of use until somebody looked at it, and shows why
    const condemned = isTrue(status.conditions, "Quarantined") && condition(status.conditions, "Installed")?.status === "False";
    const judged = condemned ? without(status, "Released") : without(status, "Installed", "Released", "Quarantined");
    const blank = drop(judged, "lastTenant", "hostKey", "imageSha256", "address");
    const next = { ...blank, ...(inventory ? { inventory } : {}), phase: "Available" as const };
    return withNews(next, "Available", `wiped and read back${tenant ? ` after ${tenant}` : ""}, off, to be had`, on.clock.now());
  });
  on.event("Normal", "Released", `the wipe was read back${tenant ? `; nothing of ${tenant} is left` : ""}`);
  return undefined;
}

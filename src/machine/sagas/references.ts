import { IronwrightError } from "../../core/errors.ts";
import { MACHINE_CLASS, type MachineClass, NODE_CLAIM, OS_IMAGE, type OSImage } from "../../core/resources.ts";
import type { Work } from "../work.ts";

/** What the machine becomes: the class its claim names. @throws IRW_REFERENCE */
export async function classOf(on: Work): Promise<MachineClass> {
  const { kube } = on.tools;
  const claimName = on.machine.spec.claimRef?.name ?? "";
  const claim = await kube.get(NODE_CLAIM, claimName);
  const name = claim?.spec.nodeClassRef.name ?? "";
  const found = name ? await kube.get(MACHINE_CLASS, name) : undefined;
  if (!found)
    throw new IronwrightError("IRW_REFERENCE", { what: `MachineClass ${name}`, wanted: `spec.nodeClassRef of NodeClaim ${claimName}` });
  return found;
}

/** @throws IRW_REFERENCE */
export async function imageOf(on: Work, machineClass: MachineClass): Promise<OSImage> {
  const name = machineClass.spec.image;
  const found = await on.tools.kube.get(OS_IMAGE, name);
  if (!found)
    throw new IronwrightError("IRW_REFERENCE", {
      what: `OSImage ${name}`,
      wanted: `spec.image of MachineClass ${machineClass.metadata.name}`,
    });
  return found;
}

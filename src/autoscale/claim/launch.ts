import { isTrue } from "../../core/conditions.ts";
import { providerId } from "../../core/names.ts";
import { formatResources } from "../../core/quantity.ts";
import { MACHINE, type Machine, NODE_CLAIM, type NodeClaim } from "../../core/resources.ts";
import { mayCarryTenant } from "../../core/tenancy.ts";
import { capacityOf } from "../world/index.ts";
import { type ClaimContext, type ClaimStep, factsOf, giveUp, is, say, withStatus } from "./claim.ts";

/** Owns `Launched`: the machine the claim names is the claim's. Two claims on one machine are settled here, by its resourceVersion. */
export const launch: ClaimStep = async (claim, on) => {
  if (is(claim, "Launched")) return claim;
  const facts = factsOf(claim);
  if (!facts) return say(claim, on, "Launched", ["False", "NotOurs", "the claim names no machine, tenant or pool of this daemon"]);
  const machine = await on.kube.get(MACHINE, facts.machine);
  if (!machine) return giveUp(claim, on, "InsufficientCapacity", `there is no machine ${facts.machine}`);
  if (machine.spec.claimRef?.uid === facts.uid) return launched(claim, machine, on);
  const taken = whyNot(machine);
  if (taken !== undefined) return giveUp(claim, on, "InsufficientCapacity", `machine ${facts.machine} ${taken}`);
  // the copy may be old: a claim that is on its way out must not take a machine
  const fresh = await on.kube.get(NODE_CLAIM, facts.name);
  if (fresh?.metadata.uid !== facts.uid || fresh.metadata.deletionTimestamp) return claim;
  const claimRef = { name: facts.name, uid: facts.uid, tenant: facts.tenant };
  const mine = await on.kube.replace(MACHINE, { ...machine, spec: { ...machine.spec, claimRef } });
  on.events.record(mine, "Normal", "Claimed", `claimed by ${facts.name} for ${facts.tenant}`);
  return launched(claim, mine, on);
};

/** What keeps a machine from being taken now, on fresh state. */
function whyNot(machine: Machine): string | undefined {
  if (machine.metadata.deletionTimestamp) return "is being removed";
  if (machine.spec.claimRef) return `was claimed by ${machine.spec.claimRef.name} meanwhile`;
  if (machine.spec.maintenance) return "is in maintenance";
  if (isTrue(machine.status?.conditions, "Quarantined")) return "is quarantined";
  if (mayCarryTenant(machine.status)) return "is not wiped yet";
  return machine.status?.phase === "Available" ? undefined : `is ${machine.status?.phase ?? "not inspected"}, not Available`;
}

function launched(claim: NodeClaim, machine: Machine, on: ClaimContext): NodeClaim {
  const inventory = machine.status?.inventory;
  const sizes = inventory && capacityOf(inventory);
  const withMachine = withStatus(claim, {
    providerID: providerId(machine.metadata.name),
    ...(sizes ? { capacity: formatResources(sizes.capacity), allocatable: formatResources(sizes.allocatable) } : {}),
  });
  return say(withMachine, on, "Launched", ["True", "Launched", `machine ${machine.metadata.name}`]);
}

import { condition, isTrue } from "../../core/conditions.ts";
import { formatDuration } from "../../core/duration.ts";
import { MACHINE, type Machine, NODE_POOL, type NodeClaim } from "../../core/resources.ts";
import { ANNOTATION_CLAIM_FAILED } from "../world/index.ts";
import { type ClaimContext, type ClaimFacts, type ClaimStep, factsOf, giveUp, is } from "./claim.ts";

/** Longer than the machine's own deadlines for an installation with its retries: those say more when they strike first. */
const REGISTRATION_MS = 30 * 60_000;

/** Ends claims that lead nowhere, so that the next plan takes another machine. Owns no condition. */
export const liveness: ClaimStep = async (claim, on) => {
  const facts = factsOf(claim);
  if (!facts) return claim;
  if (await poolIsGone(facts, on)) return giveUp(claim, on, "NodePoolGone", `NodePool ${facts.pool} was deleted`);
  if (!is(claim, "Launched")) return claim;
  const cached = on.machine(facts.machine);
  if (cached && !suspicious(claim, facts, cached, on)) return claim;
  const machine = await on.kube.get(MACHINE, facts.machine);
  if (machine?.spec.claimRef?.uid !== facts.uid)
    return giveUp(claim, on, "MachineLost", `machine ${facts.machine} is no longer this claim's`);
  if (quarantined(claim, machine)) {
    const why = condition(machine.status?.conditions, "Quarantined")?.message;
    return giveUp(claim, on, "MachineQuarantined", `machine ${facts.machine} is quarantined${why ? `: ${why}` : ""}`);
  }
  if (!late(claim, on)) return claim;
  await on.kube.patch(MACHINE, facts.machine, undefined, {
    metadata: { annotations: { [ANNOTATION_CLAIM_FAILED]: on.clock.now().toISOString() } },
  });
  return giveUp(claim, on, "RegistrationTimeout", `machine ${facts.machine} was no node within ${formatDuration(REGISTRATION_MS)}`);
};

async function poolIsGone(facts: ClaimFacts, on: ClaimContext): Promise<boolean> {
  const known = on.pool(facts.pool);
  if (known && !known.metadata.deletionTimestamp) return false;
  const pool = await on.kube.get(NODE_POOL, facts.pool);
  return pool === undefined || pool.metadata.deletionTimestamp !== undefined;
}

function suspicious(claim: NodeClaim, facts: ClaimFacts, machine: Machine, on: ClaimContext): boolean {
  return machine.spec.claimRef?.uid !== facts.uid || quarantined(claim, machine) || late(claim, on);
}

/** A machine that became a node is judged by its node. */
function quarantined(claim: NodeClaim, machine: Machine): boolean {
  return !is(claim, "Initialized") && isTrue(machine.status?.conditions, "Quarantined");
}

function late(claim: NodeClaim, on: ClaimContext): boolean {
  const since = condition(claim.status?.conditions, "Launched")?.lastTransitionTime;
  return !is(claim, "Registered") && since !== undefined && on.clock.now().getTime() - Date.parse(since) > REGISTRATION_MS;
}

import { IronwrightError, isError } from "../../core/errors.ts";
import { FINALIZER_CLAIM } from "../../core/names.ts";
import { MACHINE, NODE_CLAIM, type NodeClaim, VIRTUAL_CLUSTER } from "../../core/resources.ts";
import { type Kube, NODE, POD } from "../../kube/index.ts";
import { type ClaimContext, type ClaimFacts, factsOf, is, say } from "./claim.ts";
import { carryOut, deadlineOf, drainStep, taintDisrupted } from "./drain.ts";

/** What a round of the termination came to. */
export interface Terminating {
  readonly claim: NodeClaim;
  /** The finalizer is off: nothing more to do or to write. */
  readonly gone: boolean;
}

/**
 * Owns `Drained` and `InstanceTerminating`: pods away, then the node's rights away, then the machine may be released,
 * and when it names this claim no longer the finalizer goes.
 */
export async function termination(claim: NodeClaim, on: ClaimContext): Promise<Terminating> {
  const facts = factsOf(claim);
  if (!facts) return finish(claim, on);
  if (!(await holdsMachine(facts, on))) return letGo(claim, facts, on);
  const drained = is(claim, "Drained") ? claim : await drain(claim, facts, on);
  if (!is(drained, "Drained") || is(drained, "InstanceTerminating")) return { claim: drained, gone: false };
  if (drained !== claim) return { claim: drained, gone: false };
  try {
    await revoke(facts, on);
  } catch (error) {
    if (!(error instanceof IronwrightError)) throw error;
    on.log.warn({ claim: facts.name, tenant: facts.tenant, err: error }, "the node's rights could not be taken; it is tried again");
    return { claim: say(claim, on, "InstanceTerminating", ["Unknown", "NotRevoked", `${error.code}: ${error.message}`]), gone: false };
  }
  on.events.record(claim, "Normal", "Terminating", `node ${facts.machine} has left ${facts.tenant}; the machine is released`);
  return {
    claim: say(claim, on, "InstanceTerminating", ["True", "InstanceTerminating", `machine ${facts.machine} is released and wiped`]),
    gone: false,
  };
}

/** The machine names somebody else, or nobody: what was granted for this claim is taken back all the same. */
async function letGo(claim: NodeClaim, facts: ClaimFacts, on: ClaimContext): Promise<Terminating> {
  if (is(claim, "Launched") && !is(claim, "InstanceTerminating")) await revoke(facts, on);
  return finish(claim, on);
}

function revoke(facts: ClaimFacts, on: ClaimContext): Promise<void> {
  return on.tenants.revoke(facts.ref, { claim: facts.name, claimUid: facts.uid, nodeName: facts.machine });
}

/** On fresh state: while the machine names this claim it is not ours to forget. */
async function holdsMachine(facts: ClaimFacts, on: ClaimContext): Promise<boolean> {
  const machine = await on.kube.get(MACHINE, facts.machine);
  return machine?.spec.claimRef?.uid === facts.uid;
}

async function finish(claim: NodeClaim, on: ClaimContext): Promise<Terminating> {
  // the copy may be of a claim that is gone: only the very same one loses its finalizer
  const fresh = await on.kube.get(NODE_CLAIM, claim.metadata.name);
  const finalizers = fresh?.metadata.finalizers ?? [];
  if (!fresh || fresh.metadata.uid !== claim.metadata.uid || !finalizers.includes(FINALIZER_CLAIM)) return { claim, gone: true };
  const facts = factsOf(fresh);
  if (facts) await on.tenants.keepGivenBack(facts.ref, fresh);
  const rest = finalizers.filter((one) => one !== FINALIZER_CLAIM);
  const metadata = { resourceVersion: fresh.metadata.resourceVersion, finalizers: rest };
  await on.kube.patch(NODE_CLAIM, claim.metadata.name, undefined, { metadata });
  return { claim, gone: true };
}

async function drain(claim: NodeClaim, facts: ClaimFacts, on: ClaimContext): Promise<NodeClaim> {
  if (await tenantEnds(facts, on)) return say(claim, on, "Drained", ["True", "TenantGone", `${facts.tenant} is deleted with all its pods`]);
  // its taint keeps every pod away until it is registered
  if (!is(claim, "Registered")) return say(claim, on, "Drained", ["True", "NeverRegistered", "no pod ever came to it"]);
  const deadline = deadlineOf(claim);
  // before anything is asked of the tenant, who could refuse it for ever
  if (deadline !== undefined && deadline <= on.clock.now())
    return say(claim, on, "Drained", ["True", "DeadlinePassed", "terminationGracePeriod is over"]);
  const tenant = tenantOf(facts, on);
  if (!tenant) return say(claim, on, "Drained", ["Unknown", "TenantNotReady", `waiting for the control plane of ${facts.tenant}`]);
  const node = await tenant.get(NODE, facts.machine);
  if (!node) return say(claim, on, "Drained", ["True", "NodeNotFound", "there is no node to drain"]);
  await taintDisrupted(tenant, node);
  return drainNode(claim, facts, tenant, deadline, on);
}

async function drainNode(
  claim: NodeClaim,
  facts: ClaimFacts,
  tenant: Kube,
  deadline: Date | undefined,
  on: ClaimContext,
): Promise<NodeClaim> {
  // fresh, not from the copy: what is forgotten here is killed
  const { items } = await tenant.list(POD, { fieldSelector: `spec.nodeName=${facts.machine}` });
  const step = drainStep(items, on.clock.now(), deadline);
  if (step.waiting.length === 0) return say(claim, on, "Drained", ["True", "Drained"]);
  const blocked = await carryOut(tenant, step);
  const names = step.waiting.map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
  const message = `waiting for ${some(names)}${blocked.length > 0 ? `; disruption budgets keep ${some(blocked)}` : ""}`;
  return say(claim, on, "Drained", ["Unknown", "Draining", message]);
}

/** Not only while it is watched: who falls asleep gives its machines back first, and buys nothing meanwhile. */
function tenantOf({ ref }: ClaimFacts, on: ClaimContext): Kube | undefined {
  try {
    return on.tenants.kube(ref);
  } catch (error) {
    if (isError(error, "IRW_TENANT_NOT_READY")) return undefined;
    throw error;
  }
}

function some(names: readonly string[]): string {
  const shown = [...names].sort().slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

async function tenantEnds(facts: ClaimFacts, on: ClaimContext): Promise<boolean> {
  const known = on.cluster(facts.ref);
  if (known && !known.metadata.deletionTimestamp) return false;
  const cluster = await on.kube.get(VIRTUAL_CLUSTER, facts.ref.name, facts.ref.namespace);
  return cluster === undefined || cluster.metadata.deletionTimestamp !== undefined;
}

import { LABEL_TENANT, providerId, TAINT_UNREGISTERED } from "../../core/names.ts";
import type { NodeClaim, Taint } from "../../core/resources.ts";
import { NODE, type Node } from "../../kube/index.ts";
import { sameTaint } from "../plan/index.ts";
import { type ClaimContext, type ClaimFacts, type ClaimStep, factsOf, giveUp, is, say, withStatus } from "./claim.ts";

const LABEL_REGISTERED = "karpenter.sh/registered";

/** Owns `Registered`: the node of the claim's machine is in the tenant's cluster and carries the claim's labels and taints. */
export const registration: ClaimStep = async (claim, on) => {
  const facts = factsOf(claim);
  const view = facts && on.view(facts.tenant);
  if (!facts || !view || !is(claim, "Launched")) return claim;
  const node = view.node(facts.machine);
  if (is(claim, "Registered")) return node ? claim : whenGone(claim, facts, on);
  if (!node) return say(claim, on, "Registered", ["Unknown", "NodeNotFound", waitingFor(facts, on)]);
  const wanted = providerId(facts.machine);
  if (node.spec.providerID !== wanted) {
    const message = `node ${facts.machine} has providerID ${node.spec.providerID ?? "none"}, not ${wanted}`;
    return say(claim, on, "Registered", ["False", "NodeMismatch", message]);
  }
  await view.kube.patch(NODE, facts.machine, undefined, registered(claim, node));
  on.events.record(claim, "Normal", "Registered", `node ${facts.machine} joined ${facts.tenant}`);
  return say(withStatus(claim, { nodeName: facts.machine }), on, "Registered", ["True", "Registered"]);
};

/** A tenant that deletes its node gives the machine back. The copy may be old: the API is asked. */
async function whenGone(claim: NodeClaim, facts: ClaimFacts, on: ClaimContext): Promise<NodeClaim | "ended"> {
  const node = await on.tenants.kube(facts.ref).get(NODE, facts.machine);
  return node ? claim : giveUp(claim, on, "NodeGone", `node ${facts.machine} was deleted in ${facts.tenant}`);
}

function waitingFor(facts: ClaimFacts, on: ClaimContext): string {
  const status = on.machine(facts.machine)?.status;
  const step = status?.operation?.state === "Running" && status.operation.step ? `, step ${status.operation.step}` : "";
  return `machine ${facts.machine} is ${status?.phase ?? "unknown"}${step}`;
}

/** A patch under the node's resourceVersion: a merge patch replaces the whole list of taints. */
function registered(claim: NodeClaim, node: Node): object {
  const own = (node.spec.taints ?? []).filter((taint) => taint.key !== TAINT_UNREGISTERED);
  const added = [...(claim.spec.taints ?? []), ...(claim.spec.startupTaints ?? [])].filter(
    (taint) => !own.some((one) => sameTaint(one, taint)),
  );
  const taints: readonly Taint[] = [...own, ...added];
  const { [LABEL_TENANT]: _tenant, ...labels } = claim.metadata.labels ?? {};
  const annotations = Object.fromEntries(
    Object.entries(claim.metadata.annotations ?? {}).filter(([key]) => !key.startsWith("ironwright.dev/")),
  );
  return {
    metadata: { resourceVersion: node.metadata.resourceVersion, labels: { ...labels, [LABEL_REGISTERED]: "true" }, annotations },
    spec: { taints },
  };
}

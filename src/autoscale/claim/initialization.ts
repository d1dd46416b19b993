import { parseQuantity } from "../../core/quantity.ts";
import type { NodeClaim } from "../../core/resources.ts";
import { NODE, type Node } from "../../kube/index.ts";
import { isEphemeral, sameTaint } from "../plan/index.ts";
import { type ClaimStep, factsOf, is, say, withStatus } from "./claim.ts";

const LABEL_INITIALIZED = "karpenter.sh/initialized";

/** Owns `Initialized`: the node is what the plan promised, and takes pods. */
export const initialization: ClaimStep = async (claim, on) => {
  const facts = factsOf(claim);
  const view = facts && on.view(facts.tenant);
  if (!facts || !view || !is(claim, "Registered") || is(claim, "Initialized")) return claim;
  const node = view.node(facts.machine);
  if (!node) return claim;
  const missing = notYet(claim, node);
  if (missing) return say(claim, on, "Initialized", ["Unknown", ...missing]);
  await view.kube.patch(NODE, facts.machine, undefined, { metadata: { labels: { [LABEL_INITIALIZED]: "true" } } });
  on.events.record(claim, "Normal", "Initialized", `node ${facts.machine} takes pods`);
  const measured = withStatus(claim, {
    ...(node.status?.capacity ? { capacity: few(node.status.capacity) } : {}),
    ...(node.status?.allocatable ? { allocatable: few(node.status.allocatable) } : {}),
  });
  return say(measured, on, "Initialized", ["True", "Initialized"]);
};

/** More kinds of resources than any server has: a tenant's Node may list what it likes, the host keeps this much of it. */
const MOST_RESOURCES = 64;

function few<T>(resources: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(resources).slice(0, MOST_RESOURCES));
}

/** What is still missing, as reason and message. */
function notYet(claim: NodeClaim, node: Node): readonly [reason: string, message: string] | undefined {
  const ready = node.status?.conditions?.find((one) => one.type === "Ready");
  if (ready?.status !== "True") return ["NodeNotReady", ready?.message ?? "the node has not said that it is ready"];
  const taints = node.spec.taints ?? [];
  const startup = taints.find((taint) => claim.spec.startupTaints?.some((one) => sameTaint(one, taint)));
  if (startup) return ["StartupTaintsExist", `startup taint ${startup.key} is still there`];
  const ephemeral = taints.find(isEphemeral);
  if (ephemeral) return ["KnownEphemeralTaintsExist", `taint ${ephemeral.key} is still there`];
  const wanted = Object.keys(claim.spec.resources?.requests ?? {}).filter((name) => name.includes("/"));
  const absent = wanted.filter((name) => (parseQuantity(node.status?.allocatable?.[name] ?? "0") ?? 0n) <= 0n);
  return absent.length > 0 ? ["ResourceNotRegistered", `the node does not offer ${absent.join(", ")} yet`] : undefined;
}

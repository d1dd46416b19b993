import { type ClaimStep, factsOf, is, withStatus } from "./claim.ts";

/** Finer than this is news to nobody and a write to the apiserver. */
const GRAIN_MS = 5_000;

/** Owns `status.lastPodEventTime`: when a pod last came to the node or left it. */
export const activity: ClaimStep = async (claim, on) => {
  const facts = factsOf(claim);
  const last = facts && is(claim, "Initialized") ? on.view(facts.tenant)?.lastPodEvent(facts.machine) : undefined;
  if (!last) return claim;
  const recorded = Date.parse(claim.status?.lastPodEventTime ?? "");
  return last.getTime() - recorded < GRAIN_MS ? claim : withStatus(claim, { lastPodEventTime: last.toISOString() });
};

import { type ClaimStep, factsOf, is, say } from "./claim.ts";

/** Owns `Drifted`: whether the node is what its pool and class would make today. Only of nodes that are up. */
export const drift: ClaimStep = async (claim, on) => {
  if (!factsOf(claim) || !is(claim, "Initialized")) return claim;
  const found = on.drift(claim);
  if (found) return say(claim, on, "Drifted", ["True", found.reason, found.message]);
  return is(claim, "Drifted") ? say(claim, on, "Drifted", ["False", "NotDrifted"]) : claim;
};

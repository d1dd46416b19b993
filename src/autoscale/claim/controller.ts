import { FINALIZER_CLAIM } from "../../core/names.ts";
import { NODE_CLAIM, type NodeClaim } from "../../core/resources.ts";
import { activity } from "./activity.ts";
import { type ClaimContext, type ClaimStep, factsOf, is, say } from "./claim.ts";
import { drift } from "./drift.ts";
import { initialization } from "./initialization.ts";
import { launch } from "./launch.ts";
import { liveness } from "./liveness.ts";
import { registration } from "./registration.ts";
import { termination } from "./termination.ts";

/** A claim's life, in order. */
const LIFE: readonly ClaimStep[] = [launch, registration, initialization, activity, drift, liveness];

/** While a claim goes, its pods and its machine are looked at so often; nudges come besides. */
const TERMINATING_MS = 1_000;
/** While a node comes up. */
const COMING_MS = 10_000;

/** Brings one claim forward by what is due now. */
export async function reconcileClaim(claim: NodeClaim, on: ClaimContext): Promise<{ readonly afterMs?: number } | undefined> {
  if (!factsOf(claim)) return undefined;
  if (claim.metadata.deletionTimestamp) {
    const { claim: after, gone } = await termination(claim, on);
    if (gone) return undefined;
    await write(claim, after, on);
    return { afterMs: TERMINATING_MS };
  }
  if (!claim.metadata.finalizers?.includes(FINALIZER_CLAIM)) return addFinalizer(claim, on);
  let now: NodeClaim = claim;
  for (const step of LIFE) {
    const next = await step(now, on);
    if (next === "ended") return undefined;
    now = next;
  }
  await write(claim, ready(now, on), on);
  return is(now, "Initialized") ? undefined : { afterMs: COMING_MS };
}

/** Before any effect: a claim somebody made by hand has none yet. */
async function addFinalizer(claim: NodeClaim, on: ClaimContext): Promise<{ afterMs: number }> {
  const finalizers = [...(claim.metadata.finalizers ?? []), FINALIZER_CLAIM];
  await on.kube.patch(NODE_CLAIM, claim.metadata.name, undefined, {
    metadata: { resourceVersion: claim.metadata.resourceVersion, finalizers },
  });
  return { afterMs: 0 };
}

/** `Ready`: the sum of the others. */
function ready(claim: NodeClaim, on: ClaimContext): NodeClaim {
  const missing = ["Launched", "Registered", "Initialized"].find((type) => !is(claim, type));
  return say(
    claim,
    on,
    "Ready",
    missing === undefined ? ["True", "Ready"] : ["Unknown", "ReconcilingDependents", `waiting for ${missing}`],
  );
}

async function write(before: NodeClaim, after: NodeClaim, on: ClaimContext): Promise<void> {
  if (after !== before) await on.kube.replaceStatus(NODE_CLAIM, after);
}

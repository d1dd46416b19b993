import { isTrue } from "../../core/conditions.ts";
import { reasonOf } from "../../core/errors.ts";
import { TAINT_DISRUPTED } from "../../core/names.ts";
import { NODE_CLAIM, type NodeClaim } from "../../core/resources.ts";
import { keyOf, NODE, type Node, POD } from "../../kube/index.ts";
import { type ClaimFacts, factsOf } from "../claim/claim.ts";
import { taintDisrupted } from "../claim/drain.ts";
import { createClaim } from "../claims.ts";
import type { TenantView } from "../demand.ts";
import { type Action, type Disruption, disruptions, plan, type World } from "../plan/index.ts";
import type { PlanningOptions } from "../planning.ts";
import { ANNOTATION_REPLACEMENTS, ANNOTATION_REPLACES, isWorkload, type Known, replacements, worldOf } from "../world/index.ts";

const MOST_MS = 10_000;
const LEAST_MS = 1_000;
/** A machine is not given up for a better use sooner than it takes to get one: drain, wipe, install, join. */
const TURNAROUND_S = 600;

export interface Disrupter {
  start(): void;
  nudge(): void;
  stop(): Promise<void>;
}

/** Gives nodes up that nobody needs, or that others may claim: decides on what is known, confirms on fresh state. */
export function disrupter(options: PlanningOptions): Disrupter {
  const { clock, log } = options;
  const ending = new AbortController();
  let wake = new AbortController();
  let running: Promise<void> | undefined;

  async function loop(): Promise<void> {
    while (!ending.signal.aborted) {
      wake = new AbortController();
      const waitMs = await disruptOnce(options).catch((error: unknown) => {
        log.warn({ reason: reasonOf(error) }, "looking for nodes to give up failed");
        return MOST_MS;
      });
      await clock.sleep(LEAST_MS, ending.signal).catch(() => {});
      await clock.sleep(Math.max(0, waitMs - LEAST_MS), AbortSignal.any([ending.signal, wake.signal])).catch(() => {});
    }
  }

  return {
    start() {
      running ??= loop();
    },
    nudge: () => wake.abort(),
    async stop() {
      ending.abort(new Error("the autoscaler is stopping"));
      await running;
    },
  };
}

/** Looks at the world once and does what is due. @returns in how many ms to look again, if nothing changes */
export async function disruptOnce(options: PlanningOptions): Promise<number> {
  const known = options.known();
  const world = worldFor(known);
  const planned = plan(world);
  const decided = disruptions(world, planned);
  const deeds = [
    ...awaitingReplacement(known).map((one) => ({ about: one.old.metadata.name, done: () => finishReplacement(one, known, options) })),
    ...(planned.actions ?? []).map((one) => ({ about: one.node, done: () => takeBack(one, known, options) })),
    ...decided.now.map((one) => ({ about: one.nodes.join(", "), done: () => carryOut(one, known, options) })),
  ];
  // side by side: a tenant whose apiserver hangs or refuses keeps nobody else's nodes
  await Promise.all(
    deeds.map(({ about, done }) =>
      done().catch((error: unknown) => {
        options.log.warn({ about, reason: reasonOf(error) }, "a node could not be given up; it is tried again");
      }),
    ),
  );
  return Math.min(MOST_MS, Math.max(LEAST_MS, (decided.nextInS ?? Number.POSITIVE_INFINITY) * 1_000));
}

/** Nodes whose tenant is not watched now are there, but nothing is known of their pods: they are left alone. */
function worldFor(known: Known): World {
  const world = worldOf(known);
  return { ...world, policy: { ...world.policy, turnaroundS: world.policy?.turnaroundS ?? TURNAROUND_S } };
}

/** A claim of the plan, with the tenant's view; nothing when one of them is gone meanwhile. */
function find(tenant: string, node: string, known: Known, options: PlanningOptions) {
  for (const claim of known.claims) {
    const facts = factsOf(claim);
    if (!facts || facts.tenant !== tenant || facts.machine !== node || claim.metadata.deletionTimestamp) continue;
    const view = options.view(tenant);
    return view && { claim, facts, view };
  }
  return undefined;
}

async function carryOut(decision: Disruption, known: Known, options: PlanningOptions): Promise<void> {
  const found = decision.nodes.flatMap((node) => find(decision.tenant, node, known, options) ?? []);
  if (found.length < decision.nodes.length) return;
  for (const { facts, view } of found) if (!(await isAsDecided(decision, facts, view))) return;
  if (decision.how === "replace") {
    await beginReplacement(decision, found, known, options);
    return;
  }
  for (const { claim, facts } of found) await giveUp(claim, facts, decision.reason, decision.message, options);
}

/** Pods that came since may not be disturbed without having been asked about. */
async function isAsDecided(decision: Disruption, facts: ClaimFacts, view: TenantView): Promise<boolean> {
  return decision.reason === "Expired" || (await holdsOnly(decision.pods, facts, view));
}

/** Whether no other pods than these run on a node, on fresh state. */
async function holdsOnly(pods: readonly string[], facts: ClaimFacts, view: TenantView): Promise<boolean> {
  const { items } = await view.kube.list(POD, { fieldSelector: `spec.nodeName=${facts.machine}` });
  return items.filter(isWorkload).every((pod) => pods.includes(keyOf(pod)));
}

async function giveUp(claim: NodeClaim, facts: ClaimFacts, reason: string, message: string, options: PlanningOptions): Promise<void> {
  options.log.info({ claim: facts.name, machine: facts.machine, reason }, "giving a node up");
  options.events.record(claim, "Normal", `Disrupted${reason}`, message);
  await options.kube.delete(NODE_CLAIM, facts.name, { uid: facts.uid });
}

// ── replacing: the new node first ────────────────────────────────────────────────────────────────────────────────

interface Found {
  readonly claim: NodeClaim;
  readonly facts: ClaimFacts;
  readonly view: TenantView;
}

/** Claims first, then the taint: a daemon that dies between the two has made a claim that is given back when it stays empty. */
async function beginReplacement(decision: Disruption, found: readonly Found[], known: Known, options: PlanningOptions): Promise<void> {
  const replaces = found.map(({ facts }) => `${facts.name}/${facts.uid}`).join(",");
  const notes = { [ANNOTATION_REPLACES]: replaces, [ANNOTATION_REPLACEMENTS]: String(decision.replacements.length) };
  for (const [nth, claim] of decision.replacements.entries()) {
    if (!(await createClaim(claim, nth, known, options, notes))) return;
  }
  for (const { claim, facts, view } of found) {
    options.log.info({ claim: facts.name, machine: facts.machine, reason: decision.reason }, "replacing a node");
    options.events.record(claim, "Normal", `Disrupted${decision.reason}`, `${decision.message}; its replacement comes first`);
    const node = await view.kube.get(NODE, facts.machine);
    if (node) await taintDisrupted(view.kube, node);
  }
}

interface Replacement {
  readonly old: NodeClaim;
  readonly by: readonly NodeClaim[];
}

/** The nodes that wait for their replacement, and those that waited in vain: tainted, with nobody to replace them. */
function awaitingReplacement(known: Known): Replacement[] {
  const replaced = replacements(known.claims);
  const tainted = new Set(
    known.tenants.flatMap(({ tenant, nodes }) => nodes.filter(isTainted).map((node) => `${tenant}/${node.metadata.name}`)),
  );
  return known.claims.flatMap((old) => {
    const facts = factsOf(old);
    if (!facts || old.metadata.deletionTimestamp) return [];
    const by = replaced.get(`${facts.name}/${facts.uid}`) ?? [];
    return by.length > 0 || tainted.has(`${facts.tenant}/${facts.machine}`) ? [{ old, by }] : [];
  });
}

function isTainted(node: Node): boolean {
  return node.spec.taints?.some((taint) => taint.key === TAINT_DISRUPTED) ?? false;
}

async function finishReplacement({ old, by }: Replacement, known: Known, options: PlanningOptions): Promise<void> {
  const facts = factsOf(old);
  const found = facts && find(facts.tenant, facts.machine, known, options);
  if (!found) return;
  if (by.length > 0 && by.every((one) => isTrue(one.status?.conditions, "Initialized"))) {
    await giveUp(found.claim, found.facts, "Replaced", "its replacement is initialised", options);
    return;
  }
  if (by.length > 0) {
    // a daemon that died after the claims had no time for the taint
    const node = await found.view.kube.get(NODE, found.facts.machine);
    if (node) await taintDisrupted(found.view.kube, node);
    return;
  }
  const node = await found.view.kube.get(NODE, found.facts.machine);
  const taints = node?.spec.taints ?? [];
  const kept = taints.filter((taint) => taint.key !== TAINT_DISRUPTED);
  if (!node || kept.length === taints.length) return;
  options.log.info({ claim: found.facts.name, machine: found.facts.machine }, "a node's replacement did not come up; the node stays");
  await found.view.kube.patch(NODE, found.facts.machine, undefined, {
    metadata: { resourceVersion: node.metadata.resourceVersion },
    spec: { taints: kept },
  });
}

// ── taking machines back for others ──────────────────────────────────────────────────────────────────────────────

/** What is wiped and given follows by itself: the claim's end releases the machine, and the next plans give it. */
async function takeBack(action: Action, known: Known, options: PlanningOptions): Promise<void> {
  const found = find(action.from, action.node, known, options);
  if (!found) return;
  const { claim, facts, view } = found;
  if (action.verb === "evict") await evict(action.pods, view);
  else if (action.verb === "drain" || action.verb === "release") {
    // who borrows could keep a machine for ever by a new pod now and then; one that was idle is left alone when it is not
    const keeps = action.verb === "release" || action.pods.length === 0;
    if (keeps && !(await holdsOnly(action.pods, facts, view))) return;
    await giveUp(claim, facts, "Reclaimed", action.reason, options);
  }
}

/** Their controllers make them again, and the scheduler lets the more important ones in first. */
async function evict(pods: readonly string[], view: TenantView): Promise<void> {
  for (const key of pods) {
    const pod = view.pod(key);
    if (!pod || pod.metadata.deletionTimestamp) continue;
    const { name, namespace = "", uid } = pod.metadata;
    await view.kube.evict(namespace, name, uid === undefined ? {} : { uid });
  }
}

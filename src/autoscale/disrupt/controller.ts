import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { condition, isTrue } from "../../core/conditions.ts";
import { parseDuration } from "../../core/duration.ts";
import { reasonOf } from "../../core/errors.ts";
import { LABEL_NODEPOOL } from "../../core/names.ts";
import { NODE_CLAIM, type NodeClaim, type NodePool } from "../../core/resources.ts";
import { type EventRecorder, type Kube, POD } from "../../kube/index.ts";
import { factsOf } from "../claim/claim.ts";
import type { TenantView } from "../demand.ts";
import { plan } from "../plan/index.ts";
import { isWorkload, type Known, worldOf } from "../world/index.ts";
import { type Disruption, type DisruptionNode, type DisruptionPool, type DisruptionWorld, disruptions } from "./disruptions.ts";

const DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt";
const MOST_MS = 10_000;
const LEAST_MS = 1_000;

export interface Disrupter {
  start(): void;
  nudge(): void;
  stop(): Promise<void>;
}

export interface DisrupterOptions {
  readonly kube: Kube;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  known(): Known;
  view(tenant: string): TenantView | undefined;
}

/** Gives nodes back that nobody needs: decides on what is known, confirms on fresh state, deletes the claim. */
export function disrupter(options: DisrupterOptions): Disrupter {
  const { clock, log } = options;
  const ending = new AbortController();
  let wake = new AbortController();
  let running: Promise<void> | undefined;

  async function loop(): Promise<void> {
    while (!ending.signal.aborted) {
      wake = new AbortController();
      const waitMs = await round(options).catch((error: unknown) => {
        log.warn({ reason: reasonOf(error) }, "looking for nodes to give back failed");
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

async function round(options: DisrupterOptions): Promise<number> {
  const known = options.known();
  const now = options.clock.now();
  const decided = disruptions(disruptionWorld(known, options), now);
  // side by side: a tenant whose apiserver hangs or refuses keeps nobody else's nodes
  await Promise.all(
    decided.now.map((one) =>
      carryOut(one, known, options).catch((error: unknown) => {
        options.log.warn({ claim: one.claim, reason: reasonOf(error) }, "a node could not be given back; it is tried again");
      }),
    ),
  );
  return decided.next ? Math.min(MOST_MS, Math.max(LEAST_MS, decided.next.getTime() - now.getTime())) : MOST_MS;
}

function disruptionWorld(known: Known, options: DisrupterOptions): DisruptionWorld {
  const wanted = new Set(
    plan(worldOf(known))
      .placements.filter((one) => !one.planned)
      .map((one) => `${one.tenant}/${one.node}`),
  );
  return {
    pools: known.pools.map(poolOf),
    nodes: known.claims.flatMap((claim) => {
      const facts = factsOf(claim);
      const view = facts && options.view(facts.tenant);
      return facts && view ? [nodeOf(claim, facts.machine, view, wanted.has(`${facts.tenant}/${facts.machine}`))] : [];
    }),
  };
}

function poolOf(pool: NodePool): DisruptionPool {
  const { consolidateAfter = "0s", budgets } = pool.spec.disruption ?? {};
  return {
    name: pool.metadata.name,
    // what cannot be read releases nothing
    consolidateAfterMs: parseDuration(consolidateAfter) ?? Number.POSITIVE_INFINITY,
    ...(budgets ? { budgets } : {}),
  };
}

function nodeOf(claim: NodeClaim, machine: string, view: TenantView, wanted: boolean): DisruptionNode {
  const node = view.node(machine);
  const since = [
    claim.status?.lastPodEventTime,
    condition(claim.status?.conditions, "Initialized")?.lastTransitionTime,
    view.lastPodEvent(machine)?.toISOString(),
    view.since.toISOString(),
  ].map((text) => Date.parse(text ?? ""));
  return {
    claim: claim.metadata.name,
    pool: claim.metadata.labels?.[LABEL_NODEPOOL] ?? "",
    initialized: isTrue(claim.status?.conditions, "Initialized") && node !== undefined,
    leaving: claim.metadata.deletionTimestamp !== undefined,
    empty: !view.podsOn(machine).some(isWorkload),
    quietSince: new Date(Math.max(...since.filter((time) => !Number.isNaN(time)))),
    wanted,
    doNotDisrupt: [node, claim].some((one) => one?.metadata.annotations?.[DO_NOT_DISRUPT] === "true"),
    created: new Date(claim.metadata.creationTimestamp ?? Number.NaN),
    expireAfterMs: parseDuration(claim.spec.expireAfter ?? "Never") ?? Number.POSITIVE_INFINITY,
  };
}

async function carryOut(decision: Disruption, known: Known, options: DisrupterOptions): Promise<void> {
  const claim = known.claims.find((one) => one.metadata.name === decision.claim);
  const facts = claim && factsOf(claim);
  const view = facts && options.view(facts.tenant);
  if (!claim || !facts || !view) return;
  if (decision.reason === "Empty") {
    const { items } = await view.kube.list(POD, { fieldSelector: `spec.nodeName=${facts.machine}` });
    if (items.some(isWorkload)) return;
  }
  options.log.info({ claim: facts.name, machine: facts.machine, reason: decision.reason }, "giving a node back");
  options.events.record(claim, "Normal", `Disrupted${decision.reason}`, decision.message);
  await options.kube.delete(NODE_CLAIM, facts.name, { uid: facts.uid });
}

import { LABEL_INSTANCE_TYPE } from "../../core/names.ts";
import {
  type Disruption,
  type Disruptions,
  disruptions,
  type Plan,
  type Action as PlanAction,
  plan,
  type Refusal,
  type World,
} from "../plan/index.ts";
import { by } from "./order.ts";
import type { Action, NewNode, NodeFacts, Outcome, PendingPods, PlacedPod, PodName } from "./outcome.ts";
import { placeOf, type Server } from "./servers.ts";
import { NOBODY, type Setting } from "./world.ts";

/** What the planner makes of a world: what waiting pods get, and, where it is asked for, which nodes go. */
export interface Decision {
  readonly plan: Plan;
  readonly disruptions?: Disruptions;
}

export function decide(world: World, disrupt: boolean): Decision {
  const planned = plan(world);
  return disrupt ? { plan: planned, disruptions: disruptions(world, planned) } : { plan: planned };
}

/** A decision in the words of the scenario, in an order of its own: equal decisions are equal texts. */
export function outcomeOf(setting: Setting, { plan: planned, disruptions: going }: Decision, world: World = setting.world): Outcome {
  const teller = new Teller(setting);
  return {
    newNodes: [...planned.claims, ...(going?.now ?? []).flatMap((one) => one.replacements)]
      .map((claim) => teller.newNode(claim))
      .sort(by((one) => one.node)),
    nodes: world.tenants
      .flatMap((tenant) => tenant.nodes.map((node) => teller.node(tenant.tenant, node)))
      .sort(by((one) => `${one.tenant}/${one.node}`)),
    placements: planned.placements
      .flatMap((one) => one.pods.map((key): PlacedPod => ({ ...teller.pod(one.tenant, key), node: one.node, fresh: one.planned })))
      .sort(by((one) => `${one.tenant}/${one.pod}`)),
    pending: planned.refusals.map((one) => teller.pending(one)).sort(by((one) => `${one.tenant}/${one.pods[0]?.pod}`)),
    actions: [...(planned.actions ?? []).map((one) => teller.action(one)), ...(going?.now ?? []).flatMap((one) => teller.disruption(one))],
    held: (going?.held ?? []).map(({ node, reason }) => ({ node, reason })),
    leftOver: (planned.rest ?? []).flatMap((one) => one.pods.map((key) => teller.pod(one.tenant, key).pod)).sort(),
  };
}

/** What a scenario calls a deed. */
const SAID: Readonly<Record<string, string>> = { evict: "drain", release: "delete" };

class Teller {
  private readonly setting: Setting;

  constructor(setting: Setting) {
    this.setting = setting;
  }

  pod(tenant: string, key: string): PodName {
    const name = key.slice(key.indexOf("/") + 1);
    return this.setting.pods.get(`${tenant}/${key}`) ?? { pod: name, id: name };
  }

  node(tenant: string, node: World["tenants"][number]["nodes"][number]): NodeFacts {
    const known = this.setting.nodes.get(`${tenant}/${node.name}`) ?? this.entryOf(node.name);
    return {
      node: node.name,
      entry: known?.entry ?? node.name,
      type: known?.type ?? node.labels[LABEL_INSTANCE_TYPE] ?? "",
      ...(node.pool === undefined ? {} : { pool: node.pool }),
      ...(tenant === NOBODY ? {} : { tenant }),
      place: placeOf(node.labels),
      running: (node.pods ?? []).map((pod) => this.pod(tenant, pod.key)).sort(by((one) => one.pod)),
    };
  }

  newNode(claim: Plan["claims"][number]): NewNode {
    const known = this.entryOf(claim.machine);
    return {
      node: claim.machine,
      entry: known?.entry ?? claim.machine,
      type: known?.type ?? claim.labels[LABEL_INSTANCE_TYPE] ?? "",
      pool: claim.pool,
      ...(claim.tenant === NOBODY ? {} : { tenant: claim.tenant }),
      place: placeOf(claim.labels),
      running: [],
      state: claim.awaiting ? "AwaitingHost" : "Launching",
      ...(claim.awaiting ? { readyInS: claim.awaiting.readyInS } : {}),
      unnamed: !this.setting.servers.has(claim.machine),
    };
  }

  /** Servers of an endless catalog are called after their class. */
  private entryOf(machine: string): Pick<Server, "entry" | "type"> | undefined {
    return (
      this.setting.servers.get(machine) ??
      this.setting.catalog
        .filter((one) => machine === one.entry || machine.startsWith(`${one.entry}-`))
        .sort((a, b) => b.entry.length - a.entry.length)[0]
    );
  }

  pending({ tenant, pods, reason, pools, hint }: Refusal): PendingPods {
    const details = pools.map((one) => {
      const because = one.because.map((each) => `${each.count} ${each.reason}`).join(", ");
      return `pool ${one.pool}: ${one.problem ?? `0 of ${one.machines} servers: ${because}`}`;
    });
    return {
      pods: pods.map((key) => this.pod(tenant, key)).sort(by((one) => one.pod)),
      ...(tenant === NOBODY ? {} : { tenant }),
      reason,
      details: [...details, ...(hint === undefined ? [] : [hint])],
    };
  }

  action(action: PlanAction): Action {
    const { verb, from, to, node, machine } = action;
    const common = {
      reason: action.reason,
      pods: action.pods.map((key) => this.pod(from, key).pod).sort(),
      from,
      ...(to === undefined ? {} : { tenant: to }),
    };
    if (verb === "give") return { ...common, verb, subject: machine ?? node, rest: to === undefined ? "" : `to ${to}` };
    if (verb === "wipe") return { ...common, verb, subject: machine ?? node, rest: "" };
    return { ...common, verb: SAID[verb] ?? verb, subject: node, rest: "" };
  }

  disruption({ tenant, nodes, how, reason, replacements, pods, message }: Disruption): Action[] {
    const moved = pods.map((key) => this.pod(tenant, key).pod).sort();
    const common = { reason: `${reason}: ${message}`, pods: moved, from: tenant, tenant };
    const plain = { ...common, pods: [] };
    if (how === "delete") return nodes.map((node) => ({ ...common, verb: "delete", subject: node, rest: "" }));
    if (how === "reinstall")
      return nodes.flatMap((node) => [
        { ...common, verb: "drain", subject: node, rest: "" },
        { ...plain, verb: "reinstall", subject: node, rest: "in place" },
      ]);
    const spares = replacements.map((claim) => claim.machine);
    const when = `when ${spares.join(" and ")} ${spares.length === 1 ? "is" : "are"} initialised`;
    return [
      ...spares.map((name) => ({ ...plain, verb: "claim", subject: name, rest: "" })),
      ...nodes.map((node) => ({ ...common, verb: reason === "Drifted" ? "drain" : "delete", subject: node, rest: when })),
    ];
  }
}

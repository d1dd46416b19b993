import { LABEL_INSTANCE_TYPE } from "../../core/names.ts";
import { LEFT_OVER, plan, type World } from "../plan/index.ts";
import { carriedOut } from "./aftermath.ts";
import { type Help, NO_HELP, whatHelps } from "./help.ts";
import type { Sheet } from "./print.ts";
import type { Simulation } from "./replay.ts";

/** Why a pod is where it is, or nowhere. */
export interface Explanation {
  readonly pod: string;
  /** Nobody in the scenario is called so. */
  readonly unknown?: true;
  readonly placed?: readonly string[];
  readonly gates?: readonly string[];
  readonly reason?: string;
  /** Why it was not looked at, and when it is. */
  readonly leftOver?: string;
  /** Changes after which it would be placed, tried out; the smallest first. */
  readonly help: readonly string[];
  /** How many plans were made to find it, where no more are made and there may be other changes. */
  readonly spent?: number;
  /** How many servers of each machine class and type failed what, once all others have theirs. */
  readonly classes: readonly ExplainedClass[];
  readonly sheets: readonly Sheet[];
}

export interface ExplainedClass {
  readonly pool: string;
  readonly machineClass: string;
  readonly type: string;
  readonly servers: number;
  readonly problem?: string;
  readonly because: readonly { readonly reason: string; readonly count: number }[];
}

/** Explains a pod by its name, its entry's id or its gang's. */
export function explained(run: Simulation, name: string): Explanation {
  const { setting, world } = run;
  const keys = new Set([...setting.pods].filter(([, pod]) => [pod.pod, pod.id, pod.gang].includes(name)).map(([key]) => key));
  if (keys.size === 0) return withSheets({ pod: name, unknown: true, help: [], classes: [] });
  const planned = plan(world);
  const mine = (tenant: string, pods: readonly string[]) => pods.filter((pod) => keys.has(`${tenant}/${pod}`));
  const placed = planned.placements.flatMap((one) =>
    mine(one.tenant, one.pods).map((pod) => `${nameOf(pod)} on ${one.node}${one.planned ? " (claimed)" : ""}`),
  );
  const running = world.tenants.flatMap((one) =>
    one.nodes.flatMap((node) =>
      mine(
        one.tenant,
        (node.pods ?? []).map((pod) => pod.key),
      ).map((pod) => `${nameOf(pod)} on ${node.name}`),
    ),
  );
  const gates = world.tenants.flatMap((one) =>
    one.pods.filter((pod) => keys.has(`${one.tenant}/${pod.key}`)).flatMap((pod) => pod.gates ?? []),
  );
  const refusal = planned.refusals.find((one) => mine(one.tenant, one.pods).length > 0);
  const leftOver = (planned.rest ?? []).find((one) => mine(one.tenant, one.pods).length > 0);
  const waiting = new Set(planned.refusals.flatMap((one) => mine(one.tenant, one.pods).map((pod) => `${one.tenant}/${pod}`)));
  const isWaiting = waiting.size > 0 || gates.length > 0;
  const { changes: help, tried, spent }: Help = isWaiting ? whatHelps(world, waiting.size > 0 ? waiting : keys) : NO_HELP;
  return withSheets({
    pod: name,
    ...(placed.length + running.length > 0 ? { placed: [...placed, ...running] } : {}),
    ...(gates.length > 0 ? { gates: [...new Set(gates)] } : {}),
    ...(refusal ? { reason: refusal.reason } : {}),
    ...(leftOver ? { leftOver: `${LEFT_OVER} (${leftOver.pods.length} of them in this round)` } : {}),
    ...(spent ? { spent: tried } : {}),
    help: help.length > 0 || refusal?.hint === undefined ? help : [refusal.hint],
    classes: waiting.size > 0 ? classesOf(carriedOut(world, { plan: planned }), waiting) : [],
  });
}

function nameOf(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

/** Type by type: what the planner says when there is nothing but that type, and nobody else waits. */
function classesOf(after: World, waiting: ReadonlySet<string>): ExplainedClass[] {
  const typeOf = (machine: World["machines"][number]) => machine.nodeLabels[LABEL_INSTANCE_TYPE] ?? "";
  const types = [...new Set([...after.machines, ...(after.catalog ?? [])].map(typeOf))].sort();
  const tenants = after.tenants.map((one) => ({ ...one, pods: one.pods.filter((pod) => waiting.has(`${one.tenant}/${pod.key}`)) }));
  return types.flatMap((type) => {
    const { refusals } = plan({
      ...after,
      tenants,
      machines: after.machines.filter((one) => typeOf(one) === type),
      catalog: (after.catalog ?? []).filter((one) => typeOf(one) === type),
    });
    return (refusals[0]?.pools ?? []).map(({ pool, machineClass, machines, problem, because }) => ({
      pool,
      machineClass,
      type,
      servers: machines,
      because,
      ...(problem === undefined ? {} : { problem }),
    }));
  });
}

function withSheets(found: Omit<Explanation, "sheets">): Explanation {
  const [smallest, ...others] = found.help;
  const said: [string, string][] = [
    ["unknown", found.unknown ? "the scenario has no such pod" : ""],
    ["placed", (found.placed ?? []).join(", ")],
    ["gated", found.gates ? `it waits for its scheduling gates: ${found.gates.join(", ")}` : ""],
    ["waits", found.reason ?? ""],
    ["not read", found.leftOver ?? ""],
    ["would help", smallest ?? (found.reason === undefined ? "" : "nothing that was tried")],
    ...others.slice(0, 4).map((one): [string, string] => ["or", one]),
    ["tried", found.spent === undefined ? "" : `${found.spent} plans, as many as are made: there may be other changes that help`],
  ];
  const rows = found.classes.flatMap(({ pool, machineClass, type, servers, problem, because }) =>
    (problem === undefined ? because.map((one) => [String(one.count), one.reason]) : [["all", problem]]).map(
      ([count = "", reason = ""]) => [pool, machineClass, type, String(servers), count, reason],
    ),
  );
  return {
    ...found,
    sheets: [
      { title: `Pod ${found.pod}`, head: [], rows: said.filter(([, text]) => text !== "") },
      ...(rows.length > 0 ? [{ title: "Machine classes", head: ["POOL", "CLASS", "TYPE", "SERVERS", "FAILED", "WHY"], rows }] : []),
    ],
  };
}

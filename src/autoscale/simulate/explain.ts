import { decide } from "./decide.ts";
import type { Sheet } from "./print.ts";
import type { Simulation } from "./replay.ts";

/** Why a pod is where it is, or nowhere. */
export interface Explanation {
  readonly pod: string;
  /** Nobody in the scenario is called so. */
  readonly unknown?: true;
  readonly placed?: { readonly node: string; readonly fresh: boolean };
  readonly gates?: readonly string[];
  readonly reason?: string;
  /** The smallest change that would help, where one was found. */
  readonly help?: string;
  /** One a machine class: how many machines failed what. */
  readonly classes: readonly ExplainedClass[];
  readonly sheets: readonly Sheet[];
}

export interface ExplainedClass {
  readonly pool: string;
  readonly machineClass: string;
  readonly machines: number;
  readonly problem?: string;
  readonly because: readonly { readonly reason: string; readonly count: number }[];
}

/** Explains a pod by its name, its entry's id or its gang's. */
export function explained(run: Simulation, name: string): Explanation {
  const { setting, world, given } = run;
  const keys = [...setting.pods].filter(([, pod]) => [pod.pod, pod.id, pod.gang].includes(name)).map(([key]) => key);
  if (keys.length === 0) return withSheets({ pod: name, unknown: true, classes: [] });
  const { plan } = decide(world, given.disrupt);
  const isMine = (tenant: string, pods: readonly string[]) => pods.some((pod) => keys.includes(`${tenant}/${pod}`));
  const placement = plan.placements.find((one) => isMine(one.tenant, one.pods));
  const refusal = plan.refusals.find((one) => isMine(one.tenant, one.pods));
  const gates = world.tenants
    .flatMap((tenant) => tenant.pods.filter((pod) => keys.includes(`${tenant.tenant}/${pod.key}`)))
    .flatMap((pod) => pod.gates ?? []);
  return withSheets({
    pod: name,
    ...(placement && !refusal ? { placed: { node: placement.node, fresh: placement.planned } } : {}),
    ...(gates.length > 0 ? { gates: [...new Set(gates)] } : {}),
    ...(refusal ? { reason: refusal.reason } : {}),
    ...(refusal?.hint === undefined ? {} : { help: refusal.hint }),
    classes: (refusal?.pools ?? []).map(({ pool, machineClass, machines, problem, because }) => ({
      pool,
      machineClass,
      machines,
      because,
      ...(problem === undefined ? {} : { problem }),
    })),
  });
}

function withSheets(found: Omit<Explanation, "sheets">): Explanation {
  const said: [string, string][] = [
    ["unknown", found.unknown ? "the scenario has no such pod" : ""],
    ["placed", found.placed ? `${found.placed.fresh ? "on a new claim of" : "on node"} ${found.placed.node}` : ""],
    ["gated", found.gates ? `it waits for its scheduling gates: ${found.gates.join(", ")}` : ""],
    ["waits", found.reason ?? ""],
    ["would help", found.help ?? ""],
  ];
  const rows = found.classes.flatMap(({ pool, machineClass, machines, problem, because }) =>
    (problem === undefined ? because.map((one) => [String(one.count), one.reason]) : [["all", problem]]).map(
      ([count = "", reason = ""]) => [pool, machineClass, String(machines), count, reason],
    ),
  );
  return {
    ...found,
    sheets: [
      { title: `Pod ${found.pod}`, head: ["", ""], rows: said.filter(([, text]) => text !== "") },
      ...(rows.length > 0 ? [{ title: "Machine classes", head: ["POOL", "CLASS", "SERVERS", "FAILED", "WHY"], rows }] : []),
    ],
  };
}

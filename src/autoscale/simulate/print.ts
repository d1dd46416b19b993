import { type Outcome, type PodName, textOf } from "./outcome.ts";
import type { Judged, Tally } from "./replay.ts";

/** A table to print: a title, heads and rows. */
export interface Sheet {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** How many pods a cell names before it counts. */
const MOST_NAMES = 6;

/** The decision as tables: what is claimed, where pods go, who waits and why, which nodes go. */
export function sheetsOf(outcome: Outcome): Sheet[] {
  const sheets: Sheet[] = [
    {
      title: "Claims",
      head: ["SERVER", "TYPE", "POOL", "TENANT", "PLACE", "STATE", "PODS"],
      rows: outcome.newNodes.map((node) => [
        node.node,
        node.type,
        node.pool ?? "",
        node.tenant ?? "",
        Object.entries(node.place)
          .map(([level, value]) => `${level}=${value}`)
          .join(" "),
        node.readyInS === undefined ? node.state : `${node.state} (${node.readyInS}s)`,
        podsText(outcome.placements.filter((one) => one.node === node.node && one.fresh)),
      ]),
    },
    {
      title: "On nodes there are",
      head: ["NODE", "TYPE", "TENANT", "PODS"],
      rows: outcome.nodes
        .map((node) => ({ node, pods: outcome.placements.filter((one) => !one.fresh && one.node === node.node) }))
        .filter(({ pods }) => pods.length > 0)
        .map(({ node, pods }) => [node.node, node.type, node.tenant ?? "", podsText(pods)]),
    },
    {
      title: "Waiting",
      head: ["PODS", "TENANT", "WHY"],
      rows: outcome.pending.map((one) => [podsText(one.pods), one.tenant ?? "", one.reason]),
    },
    {
      title: "Actions",
      head: ["ACTION", "WHY", "PODS"],
      rows: outcome.actions.map((one) => [textOf(one), one.reason, one.pods.join(", ")]),
    },
    { title: "Kept", head: ["NODE", "WHY"], rows: outcome.held.map((one) => [one.node, one.reason]) },
    { title: "Left for the next round", head: ["POD"], rows: outcome.leftOver.map((pod) => [pod]) },
  ];
  return sheets.filter((sheet) => sheet.rows.length > 0);
}

function podsText(pods: readonly PodName[]): string {
  const names = pods.map((one) => one.pod);
  const shown = names.slice(0, MOST_NAMES).join(", ");
  return names.length > MOST_NAMES ? `${shown} … ${names.length} in all` : shown;
}

/** One line a case, with the reason for each difference. */
export function lineOf({ id, title, verdicts, refused, ignored }: Judged): string {
  const count = (verdict: string) => verdicts.filter((one) => one.verdict === verdict).length;
  const failed = verdicts.filter((one) => one.verdict === "failed").map((one) => `${one.key}: ${one.detail ?? ""}`);
  // what was not taken as it is said may be why
  const left = [...refused.map(({ path, reason }) => `refused ${path}: ${reason}`), ...ignored.map(({ path }) => `ignored ${path}`)];
  const unjudged = count("unjudged");
  const state = failed.length > 0 ? "FAIL" : count("passed") > 0 ? "ok" : "-";
  const counts = `${count("passed")}/${count("passed") + failed.length}${unjudged > 0 ? ` (+${unjudged} not judged)` : ""}`;
  return [
    `${state.padEnd(4)} ${id.padEnd(5)} ${counts}  ${title}`.trimEnd(),
    ...(failed.length > 0 ? [[...failed, ...left].join("; ")] : []),
  ].join(" — ");
}

export function tallyText({ passed, failed, unjudged }: Tally): string {
  return `judged and passed: ${passed}\njudged and failed: ${failed}\nnot judged: ${unjudged}`;
}

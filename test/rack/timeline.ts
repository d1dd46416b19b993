import { table } from "../../src/cli/print.ts";
import { MACHINE } from "../../src/core/resources.ts";
import type { Stage } from "./stage.ts";
import type { Show } from "./steps.ts";

/** The demo's steps as a table, the slowest marked. */
export function timelineTable(show: Show): string {
  const slowest = Math.max(...show.taken.map((one) => one.seconds));
  return table(
    ["STEP", "SECONDS", ""],
    show.taken.map(({ title, seconds }) => [title, seconds.toFixed(1).padStart(7), seconds === slowest ? "◀ slowest" : ""]),
  );
}

/** What one machine's road took, for the benchmark: the demo's steps, and the machine's own. */
export async function timelineOf(stage: Stage, show: Show, machine: string) {
  const found = await stage.host().get(MACHINE, machine);
  return {
    machine,
    steps: [...show.taken],
    history: found?.status?.history ?? [],
  };
}

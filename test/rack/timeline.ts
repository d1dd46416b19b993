import { table } from "../../src/cli/print.ts";
import { type HistoryEntry, MACHINE } from "../../src/core/resources.ts";
import type { Stage } from "./stage.ts";
import type { Step } from "./steps.ts";

/** What a run took, for the benchmark; of one that failed, as far as it came. */
export interface Timeline {
  /** Why it went no further. */
  readonly failed?: string;
  readonly steps: readonly Step[];
  readonly machines: readonly {
    readonly name: string;
    /** From the creation of the Deployment that asked for it to the pod Running; absent where none got there. */
    readonly runningSeconds?: number;
    /** Its own account, from its status. */
    readonly history: readonly HistoryEntry[];
  }[];
}

/** The demo's steps as a table, the slowest marked, and the one that failed. */
export function timelineTable(steps: readonly Step[]): string {
  const slowest = steps.toSorted((a, b) => b.seconds - a.seconds)[0];
  return table(
    ["STEP", "SECONDS", ""],
    steps.map((step) => [
      step.title,
      step.seconds.toFixed(1).padStart(7),
      [...(step.failed ? ["✗ failed"] : []), ...(step === slowest ? ["◀ slowest"] : [])].join(" "),
    ]),
  );
}

/** Each machine's part, as long as the stage stands; none of them where its host control plane does not answer. */
export async function machinesOf(stage: Stage, running: ReadonlyMap<string, number>): Promise<Timeline["machines"]> {
  try {
    const { items } = await stage.host().list(MACHINE, { signal: AbortSignal.timeout(5_000) });
    return items.map(({ metadata: { name }, status }) => {
      const runningSeconds = running.get(name);
      return { name, ...(runningSeconds === undefined ? {} : { runningSeconds }), history: status?.history ?? [] };
    });
  } catch {
    return [];
  }
}

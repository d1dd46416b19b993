import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Standing } from "./gateway-node.ts";

/** The program that is all of these, wherever it is started. */
export function standingCommand(all: readonly Standing[]): string[] {
  const program = join(import.meta.dirname, "gateway-node.ts");
  return [process.execPath, "--disable-warning=ExperimentalWarning", program, JSON.stringify(all)];
}

/** Resolves when all of them serve; `seen` counts, by name, who is called from then on. */
export async function untilStanding(child: ChildProcess, seen: Map<string, number>): Promise<void> {
  if (!child.stdout) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
    lines.on("line", (line) => {
      const said = JSON.parse(line) as { ready?: boolean; seen?: string };
      if (said.seen !== undefined) seen.set(said.seen, (seen.get(said.seen) ?? 0) + 1);
      if (said.ready) resolve();
    });
  });
}

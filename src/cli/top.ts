import { Command } from "commander";
import type { TopAnswer } from "../api/index.ts";
import { ask } from "./daemon.ts";
import type { GlobalOptions } from "./options.ts";
import { bytes, plain, table } from "./print.ts";

export function topCommand(global: () => GlobalOptions): Command {
  const command = new Command("vc")
    .alias("virtualclusters")
    .description(
      "what virtual clusters have and take: nodes and GPUs now, and hours of all they had; CPU and memory of their control planes",
    )
    .option("-n, --namespace <namespace>", "of this project alone; default: of all")
    .option("-o, --output <form>", "json")
    .action(async (options: { namespace?: string; output?: string }) => {
      if (options.output !== undefined && options.output !== "json") throw new Error(`-o ${options.output}: there is json`);
      const answer = await ask<TopAnswer>(global(), "/v1/top/virtualclusters");
      const items = answer.items.filter((one) => options.namespace === undefined || one.project === options.namespace);
      console.log(options.output === "json" ? JSON.stringify({ ...answer, items }, null, 2) : plain(topText(items)));
    });
  return new Command("top").description("what is used, by whom").addCommand(command);
}

/** The answer as people read it. */
function topText(items: TopAnswer["items"]): string {
  if (items.length === 0) return "There are no virtual clusters.";
  return table(
    ["PROJECT", "NAME", "PHASE", "SLEEP", "NODES", "GPUS", "NODE-HOURS", "GPU-HOURS", "AWAKE-HOURS", "CPU", "MEMORY"],
    items.map((one) => [
      one.project,
      one.name,
      one.phase,
      one.sleep,
      String(one.nodes),
      String(one.gpus),
      one.nodeHours.toFixed(1),
      one.gpuHours.toFixed(1),
      one.awakeHours.toFixed(1),
      one.cpuSeconds === undefined ? "-" : `${one.cpuSeconds.toFixed(0)}s`,
      one.memoryBytes === undefined ? "-" : bytes(one.memoryBytes),
    ]),
  );
}

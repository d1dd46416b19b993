import type { Command } from "commander";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { withHost } from "./host.ts";
import { virtualClusterCommand } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { seconds } from "./print.ts";
import { existing, saysNow, waitUntil } from "./virtual-cluster.ts";
import { withDefault } from "./wait.ts";

export function deleteCommand(global: () => GlobalOptions): Command {
  const { whole, command } = virtualClusterCommand(
    "delete",
    "delete a virtual cluster: its machines are given back and wiped, nothing of it is left",
  );
  command
    .option("--wait", "until nothing is left, with a line that says what it waits for")
    .addOption(withDefault("--timeout <duration>", "wait no longer", 1_800_000))
    .action(async (name: string, options) => {
      await withHost(global(), options.kubeconfig, async (kube) => {
        const at = { project: options.namespace as string, name };
        const { metadata } = await existing(kube, at);
        await kube.delete(VIRTUAL_CLUSTER, name, { namespace: at.project, ...(metadata.uid ? { uid: metadata.uid } : {}) });
        console.log(`virtual cluster ${at.project}/${name} is being deleted`);
        if (!options.wait) return;
        const gone = (now: VirtualCluster | undefined) => now === undefined || now.metadata.uid !== metadata.uid;
        const took = await waitUntil(kube, at, {
          wanted: "gone",
          timeoutMs: options.timeout,
          look: (now) => ({ done: gone(now), seen: now ? saysNow(now) : "" }),
        });
        console.error(`gone after ${seconds(took)}`);
      });
    });
  return whole;
}

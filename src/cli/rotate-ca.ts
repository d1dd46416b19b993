import { type Command, InvalidArgumentError } from "commander";
import { formatDuration, parseDuration } from "../core/duration.ts";
import { type Kind, VIRTUAL_CLUSTER } from "../core/resources.ts";
import { KEY_TIMES } from "../tenant/index.ts";
import { withHost } from "./host.ts";
import { hostCommand, parseKind } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { existing } from "./virtual-cluster.ts";

export function rotateCaCommand(global: () => GlobalOptions): Command {
  return hostCommand("rotate-ca", "change a virtual cluster's certificate authorities, the old ones accepted for a while")
    .argument("<kind>", "virtualcluster", virtualCluster)
    .argument("<name>")
    .option("--service-account-keys", "change the key that signs service account tokens instead; its apiserver restarts")
    .option("--overlap <duration>", "how long what old keys issued is accepted beside the new, e.g. 168h", duration)
    .action(async (_kind: Kind, name: string, options) => {
      await withHost(global(), options.kubeconfig, async (kube) => {
        const cluster = await existing(kube, { project: options.namespace, name });
        const part = options.serviceAccountKeys ? "serviceAccountKeys" : "authorities";
        const there = cluster.status?.pki?.[part];
        if (there && there.stage !== "Settled") {
          console.log(
            `a change is under way: ${part} ${there.generation}, ${there.stage.toLowerCase()}; ${cluster.status?.pki?.waiting ?? ""}`,
          );
          return;
        }
        const next = Math.max(there?.generation ?? 1, cluster.spec.pki?.[part] ?? 1) + 1;
        const pki = { [part]: next, ...(options.overlap ? { overlap: options.overlap } : {}) };
        // under its resourceVersion: two who ask at once ask for one change
        const { resourceVersion } = cluster.metadata;
        await kube.patch(VIRTUAL_CLUSTER, name, options.namespace, { metadata: { resourceVersion }, spec: { pki } });
        console.log(`asked for ${part} ${next}; \`ironwright describe vc ${name}\` shows how it goes`);
      });
    });
}

function virtualCluster(text: string): Kind {
  const kind = parseKind(text);
  if (kind !== VIRTUAL_CLUSTER) throw new InvalidArgumentError("only virtual clusters have authorities to change.");
  return kind;
}

function duration(text: string): string {
  const { shortestOverlapMs } = KEY_TIMES;
  const ms = parseDuration(text) ?? 0;
  if (ms < shortestOverlapMs || ms === Number.POSITIVE_INFINITY)
    throw new InvalidArgumentError(
      `expected a duration such as 168h, at least ${formatDuration(shortestOverlapMs)}: kubelets' certificates live an hour.`,
    );
  return text;
}

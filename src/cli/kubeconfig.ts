import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { condition } from "../core/conditions.ts";
import { IronwrightError } from "../core/errors.ts";
import { refOf, tenantText } from "../core/names.ts";
import { SECRET } from "../kube/index.ts";
import { hostKubeconfig, withHost } from "./host.ts";
import { hostCommand } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { existing } from "./virtual-cluster.ts";

export function kubeconfigCommand(global: () => GlobalOptions): Command {
  return hostCommand("kubeconfig", "print the administrator's kubeconfig of a virtual cluster, or of the host control plane")
    .argument("[name]", "of the virtual cluster; without it the host control plane's")
    .action(async (name: string | undefined, options) => {
      if (!name) {
        process.stdout.write(readFileSync(hostKubeconfig(global(), options.kubeconfig), "utf8"));
        return;
      }
      await withHost(global(), options.kubeconfig, async (kube) => {
        const cluster = await existing(kube, { project: options.namespace, name });
        const secret = await kube.get(SECRET, `${name}-kubeconfig`, options.namespace);
        const value = secret?.data?.value;
        if (!value) {
          const why = condition(cluster.status?.conditions, "Ready")?.message ?? "it is being created";
          throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant: tenantText(refOf(cluster)), reason: why });
        }
        process.stdout.write(Buffer.from(value, "base64").toString("utf8"));
      });
    });
}

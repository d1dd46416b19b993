import { Command, InvalidArgumentError } from "commander";
import {
  type Kind,
  MACHINE,
  MACHINE_CLASS,
  NODE_CLAIM,
  NODE_POOL,
  OS_IMAGE,
  VIRTUAL_CLUSTER,
  VIRTUAL_CLUSTER_TEMPLATE,
} from "../core/resources.ts";

const kinds: readonly (readonly [Kind, ...string[]])[] = [
  [MACHINE, "machine", "machines", "m"],
  [MACHINE_CLASS, "machineclass", "machineclasses", "mc"],
  [OS_IMAGE, "osimage", "osimages"],
  [NODE_CLAIM, "nodeclaim", "nodeclaims"],
  [NODE_POOL, "nodepool", "nodepools"],
  [VIRTUAL_CLUSTER, "virtualcluster", "virtualclusters", "vc"],
  [VIRTUAL_CLUSTER_TEMPLATE, "virtualclustertemplate", "virtualclustertemplates", "vct"],
];

/** The kind by any of its usual names, for commander. */
export function parseKind(text: string): Kind {
  const found = kinds.find(([, ...names]) => names.includes(text.toLowerCase()));
  if (!found)
    throw new InvalidArgumentError(`there are ${kinds.map(([kind]) => kind.plural).join(", ")}; of the daemon, by get: leases, refusals.`);
  return found[0];
}

/** Adds the options every command that talks to the host control plane has. */
export function hostCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("-n, --namespace <namespace>", "project (namespace of the host control plane)", "default")
    .option("--kubeconfig <file>", "of the host control plane; default: the configuration's own");
}

/** As {@link hostCommand}, for what is done to virtual clusters alone: `ironwright VERB vc NAME`. */
export function virtualClusterCommand(verb: string, description: string): { readonly whole: Command; readonly command: Command } {
  const command = hostCommand("vc", description).alias("virtualcluster").argument("<name>", "of the virtual cluster");
  return { whole: new Command(verb).description(description).addCommand(command), command };
}

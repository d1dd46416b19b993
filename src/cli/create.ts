import { type Command, InvalidArgumentError } from "commander";
import { stringify } from "yaml";
import { condition, isTrue } from "../core/conditions.ts";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, isError } from "../core/errors.ts";
import { VIRTUAL_CLUSTER, type VirtualCluster } from "../core/resources.ts";
import { type Kube, pathOf } from "../kube/index.ts";
import { findTemplate } from "../tenant/template/find.ts";
import { templateStatus } from "../tenant/template/resolve.ts";
import { withHost } from "./host.ts";
import { virtualClusterCommand } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { seconds } from "./print.ts";
import { collision, type Named, projectExists, saysNow, waitUntil } from "./virtual-cluster.ts";
import { durationOption, withDefault } from "./wait.ts";

interface Options {
  readonly namespace: string;
  readonly kubeconfig?: string;
  readonly template?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly ttl?: number;
  readonly kubernetes?: string;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly dryRun?: boolean;
  readonly output?: "yaml" | "json" | "name";
}

export function createCommand(global: () => GlobalOptions): Command {
  const { whole, command } = virtualClusterCommand(
    "create",
    "make a virtual cluster: a control plane of one's own, to which machines come as pods ask for them",
  );
  command
    .option("-t, --template <name>", "make it of this VirtualClusterTemplate, of the project or of ironwright-system")
    .option("--set <parameter=value>", "fill in a parameter of the template; may be given again", collectParameter)
    .option("--ttl <duration>", "delete it so long after it was made, e.g. 72h", durationOption)
    .option("--kubernetes <version>", "Kubernetes version, e.g. 1.36; default: the newest there is")
    .option("--wait", "until it answers, with a line that says what it waits for")
    .addOption(withDefault("--timeout <duration>", "wait no longer", 300_000))
    .option("--dry-run", "have it checked, and make nothing")
    .option("-o, --output <form>", "yaml, json or name: print the object", outputForm)
    .addHelpText(
      "after",
      `
Examples:
  ironwright create vc acme --wait && ironwright kubeconfig acme > acme.kubeconfig
  ironwright create vc pr-1138 -n team --template preview --set branch=main --ttl 72h
  ironwright create vc acme --template small --dry-run -o yaml > acme.yaml`,
    )
    .action(async (name: string, options: Options) => {
      await withHost(global(), options.kubeconfig, (kube) => create(kube, name, options));
    });
  return whole;
}

async function create(kube: Kube, name: string, options: Options): Promise<void> {
  const at: Named = { project: options.namespace, name };
  const wanted = declaration(at, options);
  await checkAgainstTemplate(kube, wanted);
  const made = await post(kube, at, wanted, options.dryRun ?? false);
  console.log(rendered(made, options));
  if (!options.wait || options.dryRun) return;
  const took = await waitUntil(kube, at, { wanted: "ready", timeoutMs: options.timeout, look: lookForReady });
  const ready = await kube.get(VIRTUAL_CLUSTER, name, at.project);
  console.error(
    `ready at ${ready?.status?.endpoint} after ${seconds(took)}; its kubeconfig: ironwright kubeconfig ${name} -n ${at.project}`,
  );
}

/** The object as it is declared: what nobody asked for is left out. */
function declaration({ project, name }: Named, { template, set = {}, ttl, kubernetes }: Options): VirtualCluster {
  const parameters = Object.keys(set).length > 0 ? { parameters: set } : {};
  if (template === undefined && "parameters" in parameters) {
    throw new IronwrightError("IRW_RESOURCE_INVALID", {
      resource: `VirtualCluster ${project}/${name}`,
      problems: "--set fills in a template: name one with --template (settings of ironwright itself come before the command)",
    });
  }
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "VirtualCluster",
    metadata: { name, namespace: project },
    spec: {
      ...(kubernetes === undefined ? {} : { version: kubernetes }),
      ...(ttl === undefined ? {} : { ttl: formatDuration(ttl) }),
      ...(template === undefined ? {} : { templateRef: { name: template, ...parameters } }),
    },
  };
}

/** The daemon reads the template when the object is there; whoever types wants to know before. */
async function checkAgainstTemplate(kube: Kube, wanted: VirtualCluster): Promise<void> {
  const { templateRef } = wanted.spec;
  if (!templateRef) return;
  const { namespace = "" } = wanted.metadata;
  const template = await findTemplate(kube, templateRef.name, namespace, "--template");
  templateStatus(wanted, templateRef, template);
}

async function post(kube: Kube, at: Named, wanted: VirtualCluster, dryRun: boolean): Promise<VirtualCluster> {
  try {
    if (!dryRun) return await kube.create(VIRTUAL_CLUSTER, wanted);
    const path = pathOf(VIRTUAL_CLUSTER, { namespace: at.project });
    return (await kube.raw("POST", `${path}?dryRun=All&fieldValidation=Strict`, wanted)) as VirtualCluster;
  } catch (error) {
    if (isError(error, "IRW_KUBE_CONFLICT")) {
      const there = await kube.get(VIRTUAL_CLUSTER, at.name, at.project);
      if (there) throw collision(at, there, new Date());
    }
    if (isError(error, "IRW_KUBE_REFUSED") && error.facts.status === 404) await projectExists(kube, at.project);
    throw error;
  }
}

function rendered(made: VirtualCluster, { output, dryRun }: Options): string {
  const { name, namespace } = made.metadata;
  const object = { apiVersion: made.apiVersion, kind: made.kind, metadata: { name, namespace }, spec: made.spec };
  if (output === "yaml") return stringify(object).trimEnd();
  if (output === "json") return JSON.stringify(object, null, 2);
  if (output === "name") return `${VIRTUAL_CLUSTER.plural}.${VIRTUAL_CLUSTER.group}/${name}`;
  return `virtual cluster ${namespace}/${name} ${dryRun ? "would be made (nothing was changed)" : "is declared"}`;
}

/** What its people have to mend is said at once: waiting does not help. */
const HOPELESS = new Set(["ResourceInvalid", "VersionUnsupported", "Reference"]);

function lookForReady(now: VirtualCluster | undefined): { readonly done: boolean; readonly seen: string } {
  if (!now) return { done: false, seen: "it to be there again: somebody deleted it" };
  const ready = condition(now.status?.conditions, "Ready");
  if (ready && HOPELESS.has(ready.reason)) {
    const tenant = `${now.metadata.namespace}.${now.metadata.name}`;
    throw new IronwrightError("IRW_TENANT_NOT_READY", { tenant, reason: ready.message });
  }
  return { done: isTrue(now.status?.conditions, "Ready") && now.status?.phase === "Ready", seen: saysNow(now) };
}

function collectParameter(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("expected PARAMETER=VALUE");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function outputForm(text: string): string {
  if (!["yaml", "json", "name"].includes(text)) throw new InvalidArgumentError("there are yaml, json and name");
  return text;
}

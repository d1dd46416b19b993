import { isDeepStrictEqual } from "node:util";
import { IronwrightError } from "../../core/errors.ts";
import type { VirtualCluster, VirtualClusterTemplate } from "../../core/resources.ts";
import type { TemplateRef, TemplateStatus } from "../../core/virtual-clusters.ts";
import { isShaped, shapeProblems } from "../spec-shape.ts";
import { expand, overlaid } from "./expand.ts";

/**
 * The template to ask now: what is asked for differs from what the status holds. A template that changed is not asked again until
 * somebody changes `spec.templateRef`, its `generation` say.
 */
export function templateToAsk({ spec, status }: VirtualCluster): TemplateRef | undefined {
  const { templateRef } = spec;
  return templateRef && !isDeepStrictEqual(templateRef, status?.template?.asked) ? templateRef : undefined;
}

/**
 * What a template says to a VirtualCluster, for its status; pure.
 * @throws IRW_RESOURCE_INVALID with every problem's field
 */
export function templateStatus(cluster: VirtualCluster, asked: TemplateRef, { metadata, spec }: VirtualClusterTemplate): TemplateStatus {
  const { namespace = "", name, generation = 1 } = metadata;
  const problems: string[] = [];
  if (asked.generation !== undefined && asked.generation !== generation)
    problems.push(
      `spec.templateRef.generation: ${asked.generation} is not there; VirtualClusterTemplate ${namespace}/${name} is at ${generation}`,
    );
  const expanded = problems.length > 0 ? {} : expand(spec, asked.parameters ?? {}, problems);
  if (Object.hasOwn(expanded, "templateRef")) problems.push("the template's spec.template.templateRef: a template is made of no other");
  if (problems.length === 0)
    problems.push(...shapeProblems(expanded).map((one) => `the template's ${one.replace(/^spec/, "spec.template")}`));
  if (problems.length > 0) throw refusal(cluster, problems);
  return { namespace, name, generation, asked, spec: expanded };
}

/**
 * The VirtualCluster as it is meant: what its template said, under what it says itself.
 * @throws IRW_RESOURCE_INVALID
 */
export function meant(cluster: VirtualCluster): VirtualCluster {
  const { spec, status } = cluster;
  if (!spec.templateRef || !status?.template) return cluster;
  const whole = overlaid(status.template.spec, { ...spec });
  if (!isShaped(whole)) throw refusal(cluster, shapeProblems(whole));
  return { ...cluster, spec: whole };
}

function refusal({ metadata }: VirtualCluster, problems: readonly string[]): IronwrightError {
  return new IronwrightError("IRW_RESOURCE_INVALID", {
    resource: `VirtualCluster ${metadata.namespace}/${metadata.name}`,
    problems: problems.join("\n"),
  });
}

import { IronwrightError } from "../../core/errors.ts";
import { SYSTEM_NAMESPACE } from "../../core/names.ts";
import { VIRTUAL_CLUSTER_TEMPLATE, type VirtualClusterTemplate } from "../../core/resources.ts";
import type { Kube } from "../../kube/index.ts";

/**
 * The template of a name: the project's own or, when it has none, the system's.
 * @param askedBy what names it, in words for people
 * @throws IRW_REFERENCE
 */
export async function findTemplate(kube: Kube, name: string, project: string, askedBy: string): Promise<VirtualClusterTemplate> {
  for (const namespace of [project, SYSTEM_NAMESPACE]) {
    const template = await kube.get(VIRTUAL_CLUSTER_TEMPLATE, name, namespace);
    if (template) return template;
  }
  const wanted = `${askedBy}, in ${project} or ${SYSTEM_NAMESPACE}`;
  throw new IronwrightError("IRW_REFERENCE", { what: `VirtualClusterTemplate ${name}`, wanted });
}

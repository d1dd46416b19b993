import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Kind, Resource } from "../core/resources.ts";
import type { Kube } from "./kube.ts";
import { CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING } from "./upstream.ts";

const KINDS: readonly Kind[] = [CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING];

/** Brings the roles and bindings of `dir/*.yaml` up to date; the namespaces they are in are there already. */
export async function installRoles(kube: Kube, dir: string): Promise<void> {
  const files = readdirSync(dir).filter((file) => file.endsWith(".yaml"));
  const objects = files.flatMap((file) => parseAllDocuments(readFileSync(join(dir, file), "utf8")).map((one) => one.toJS() as Resource));
  for (const object of objects) {
    const kind = KINDS.find((one) => one.kind === object.kind);
    if (!kind) throw new Error(`${object.kind} ${object.metadata.name} in ${dir} is no role`);
    await kube.apply(kind, object);
  }
}

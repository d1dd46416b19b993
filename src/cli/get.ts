import type { Command } from "commander";
import { stringify } from "yaml";
import type { Kind, Resource } from "../core/resources.ts";
import { type Kube, pathOf } from "../kube/index.ts";
import { type BootList, bootLists, renderedList } from "./boot-lists.ts";
import { withHost } from "./host.ts";
import { hostCommand, parseKind } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { plain, table } from "./print.ts";

/** The apiserver's own rendering of a list (meta.k8s.io/v1 Table), so that these columns and kubectl's are the same. */
interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[];
  readonly rows: readonly { readonly cells: readonly unknown[]; readonly object: { readonly metadata: { readonly namespace?: string } } }[];
}

export function getCommand(global: () => GlobalOptions): Command {
  return hostCommand(
    "get",
    "list machines, machineclasses, osimages, nodepools, nodeclaims, virtualclusters; of the daemon: leases, refusals",
  )
    .argument("<kind>", "what to list", (text): Kind | BootList => bootLists.find((list) => list === text) ?? parseKind(text))
    .argument("[name]", "only this one")
    .option("-A, --all-namespaces", "of all projects")
    .option("-o, --output <form>", "wide, json, yaml or name")
    .action(async (kind: Kind | BootList, name: string | undefined, options) => {
      if (typeof kind === "string") return console.log(plain(await renderedList(global(), kind, options.output)));
      await withHost(global(), options.kubeconfig, async (kube) => {
        const namespace = kind.namespaced && !options.allNamespaces ? options.namespace : undefined;
        console.log(plain(await rendered(kube, kind, namespace, name, options.output)));
      });
    });
}

async function rendered(
  kube: Kube,
  kind: Kind,
  namespace: string | undefined,
  name: string | undefined,
  form: string | undefined,
): Promise<string> {
  if (form === undefined || form === "wide") return columns(await readTable(kube, kind, namespace, name), kind, form === "wide", namespace);
  const items = name ? [await one(kube, kind, namespace, name)] : (await kube.list(kind, namespace ? { namespace } : {})).items;
  if (form === "name") return items.map((item) => `${kind.plural}.${kind.group}/${item.metadata.name}`).join("\n");
  const value = name ? items[0] : { apiVersion: "v1", kind: "List", items };
  if (form === "json") return JSON.stringify(value, null, 2);
  if (form === "yaml") return stringify(value).trimEnd();
  throw new Error(`-o ${form}: there are wide, json, yaml and name`);
}

async function one(kube: Kube, kind: Kind, namespace: string | undefined, name: string): Promise<Resource> {
  const found = await kube.get(kind, name, namespace);
  if (!found) throw new Error(`there is no ${kind.kind} ${name}`);
  return found;
}

async function readTable(kube: Kube, kind: Kind, namespace: string | undefined, name: string | undefined): Promise<Table> {
  const path = pathOf(kind, { ...(namespace ? { namespace } : {}), ...(name ? { name } : {}) });
  return (await kube.raw("GET", path, undefined, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" })) as Table;
}

function columns(from: Table, kind: Kind, wide: boolean, namespace: string | undefined): string {
  if (from.rows.length === 0) return `There are no ${kind.plural}${namespace ? ` in project ${namespace}` : ""}.`;
  const shown = from.columnDefinitions.map((column, at) => ({ ...column, at })).filter((column) => wide || column.priority === 0);
  const withNamespace = kind.namespaced && !namespace;
  const head = [...(withNamespace ? ["NAMESPACE"] : []), ...shown.map((column) => column.name.toUpperCase())];
  const rows = from.rows.map((row) => [
    ...(withNamespace ? [row.object.metadata.namespace ?? ""] : []),
    ...shown.map((column) => cell(row.cells[column.at])),
  ]);
  return table(head, rows);
}

function cell(value: unknown): string {
  return value === null || value === undefined || value === "" ? "-" : String(value);
}

import type { Command } from "commander";
import { stringify } from "yaml";
import type { Condition } from "../core/conditions.ts";
import type { Inventory, Kind, Machine, Resource } from "../core/resources.ts";
import { EVENT, type Event, type Kube } from "../kube/index.ts";
import { withHost } from "./host.ts";
import { hostCommand, parseKind } from "./kinds.ts";
import type { GlobalOptions } from "./options.ts";
import { age, bytes, plain, span, table } from "./print.ts";

export function describeCommand(global: () => GlobalOptions): Command {
  return hostCommand("describe", "show one object whole: what is wanted, what is so, and how it came to be")
    .argument("<kind>", "machine, nodeclaim, nodepool, virtualcluster, …", parseKind)
    .argument("<name>")
    .action(async (kind: Kind, name: string, options) => {
      await withHost(global(), options.kubeconfig, async (kube) => {
        const namespace = kind.namespaced ? options.namespace : undefined;
        const object = await kube.get(kind, name, namespace);
        if (!object) throw new Error(`there is no ${kind.kind} ${name}${namespace ? ` in project ${namespace}` : ""}`);
        console.log(plain(described(object, await eventsOf(kube, object), new Date())));
      });
    });
}

/** The whole object as text: identity, specification, inventory, conditions, history, events. */
export function described(object: Resource & { spec?: unknown; status?: unknown }, events: readonly Event[], now: Date): string {
  const status = (object.status ?? {}) as { conditions?: readonly Condition[] };
  const sections = [identity(object, now), section("Spec", stringify(object.spec ?? {}).trimEnd())];
  if (object.kind === "Machine") sections.push(...machineSections(object as Machine));
  else sections.push(section("Status", stringify({ ...status, conditions: undefined }).trimEnd()));
  sections.push(section("Conditions", conditionTable(status.conditions ?? [], now)), section("Events", eventTable(events, now)));
  return sections.join("\n\n");
}

function identity(object: Resource, now: Date): string {
  const { metadata } = object;
  const lines = [`Name:      ${metadata.name}`];
  if (metadata.namespace) lines.push(`Project:   ${metadata.namespace}`);
  lines.push(`Kind:      ${object.kind} (${object.apiVersion})`, `Age:       ${age(metadata.creationTimestamp, now)}`);
  if (metadata.deletionTimestamp) lines.push(`Deleting:  since ${age(metadata.deletionTimestamp, now)}`);
  for (const [what, map] of Object.entries({ Labels: metadata.labels, Notes: metadata.annotations })) {
    for (const [key, value] of Object.entries(map ?? {})) lines.push(`${`${what}:`.padEnd(11)}${key}=${value}`);
  }
  return lines.join("\n");
}

function machineSections(machine: Machine): string[] {
  const status = machine.status ?? {};
  const operation = status.operation;
  const facts = [
    `phase:     ${status.phase ?? "not yet looked at"}`,
    `power:     ${status.power ?? "unknown"}`,
    ...(status.address ? [`address:   ${status.address}`] : []),
    ...(operation
      ? [
          `operation: ${operation.kind} ${operation.state.toLowerCase()}${operation.step ? `, at ${operation.step}` : ""} (fence ${operation.fence}, attempt ${operation.attempt})`,
        ]
      : []),
    ...(operation?.nextTryAt ? [`next try:  ${operation.nextTryAt}`] : []),
    ...(status.lastTenant ? [`data of:   ${status.lastTenant} may be on its disks`] : []),
    ...(status.lastWipe
      ? [
          `last wipe: ${status.lastWipe.at}, ${status.lastWipe.disks.map((disk) => `${disk.path} by ${disk.method}, ${disk.samples} samples read back`).join("; ")}`,
        ]
      : []),
  ];
  return [
    section("Status", facts.join("\n")),
    ...(status.inventory ? [section("Inventory", inventory(status.inventory))] : []),
    ...(operation
      ? [
          section(
            "Steps",
            table(
              ["STEP", "TOOK"],
              operation.done.map((step) => [step.step, span(step.seconds)]),
            ),
          ),
        ]
      : []),
    section("History", historyTable(machine)),
  ];
}

function inventory(from: Inventory): string {
  return [
    `system:    ${from.system.manufacturer} ${from.system.product}, serial ${from.system.serial}, ${from.firmware}`,
    `cpu:       ${from.cpu.model}, ${from.cpu.sockets} sockets, ${from.cpu.cores} cores, ${from.cpu.threads} threads`,
    `memory:    ${bytes(from.memoryBytes)}`,
    ...from.disks.map(
      (disk) =>
        `disk:      ${disk.path} ${bytes(disk.sizeBytes)} ${disk.model} serial ${disk.serial}${disk.signatures.length > 0 ? ` (${disk.signatures.join(", ")})` : ""}`,
    ),
    ...from.nics.map((nic) => `nic:       ${nic.name} ${nic.mac}${nic.link ? "" : " (no link)"}`),
    ...from.gpus.map(
      (gpu) => `gpu:       ${gpu.address} ${gpu.model} [${gpu.id}]${gpu.numaNode >= 0 ? ` on NUMA node ${gpu.numaNode}` : ""}`,
    ),
  ].join("\n");
}

function historyTable(machine: Machine): string {
  const rows = (machine.status?.history ?? []).map((entry) => [
    entry.at,
    entry.phase,
    entry.event,
    entry.seconds === undefined ? "" : span(entry.seconds),
    entry.message,
  ]);
  return rows.length > 0 ? table(["AT", "PHASE", "EVENT", "TOOK", "MESSAGE"], rows) : "(none)";
}

function conditionTable(conditions: readonly Condition[], now: Date): string {
  if (conditions.length === 0) return "(none)";
  return table(
    ["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"],
    conditions.map((one) => [one.type, one.status, age(one.lastTransitionTime, now), one.reason, one.message]),
  );
}

function eventTable(events: readonly Event[], now: Date): string {
  if (events.length === 0) return "(none)";
  const sorted = [...events].sort((a, b) => (a.lastTimestamp ?? "").localeCompare(b.lastTimestamp ?? ""));
  return table(
    ["TYPE", "REASON", "AGE", "COUNT", "MESSAGE"],
    sorted.map((event) => [
      event.type ?? "",
      event.reason ?? "",
      age(event.lastTimestamp, now),
      String(event.count ?? 1),
      event.message ?? "",
    ]),
  );
}

async function eventsOf(kube: Kube, object: Resource): Promise<readonly Event[]> {
  const { items } = await kube.list(EVENT, { fieldSelector: `involvedObject.uid=${object.metadata.uid}` });
  return items;
}

function section(title: string, text: string): string {
  return `${title}:\n${text.replace(/^/gm, "  ")}`;
}

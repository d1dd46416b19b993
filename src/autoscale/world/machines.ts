import { condition, isTrue } from "../../core/conditions.ts";
import { LABEL_MACHINE, LABEL_NVLINK, LABEL_RACK, LABEL_SITE } from "../../core/names.ts";
import { ONE, type Quantity, type Resources } from "../../core/quantity.ts";
import type { Inventory, Machine } from "../../core/resources.ts";
import { mayCarryTenant } from "../../core/tenancy.ts";
import type { MachineSupply } from "../plan/index.ts";

/** On a Machine: when a claim on it last failed to become a node (RFC 3339). The next plans leave it alone for a while. */
export const ANNOTATION_CLAIM_FAILED = "ironwright.dev/claim-failed-at";
const AVOIDED_MS = 10 * 60_000;

const LABEL_GPU_COUNT = "ironwright.dev/gpu-count";
const LABEL_GPU_MODEL = "ironwright.dev/gpu-model";

const MEBIBYTE = 2n ** 20n * ONE;
/** What firmware and kernel keep of the memory an inspection sees, generously: a node promised too large takes pods that never fit. */
const MEMORY_PERCENT = 93n;
/** The kubelet's default hard eviction threshold. */
const MEMORY_EVICTION = 100n * MEBIBYTE;
/** File system overhead and the kubelet's eviction thresholds. */
const DISK_PERCENT = 80n;
/** The kubelet's default. */
const PODS = 110n * ONE;

const GPU_RESOURCES: Readonly<Record<string, string>> = { "10de": "nvidia.com/gpu", "1002": "amd.com/gpu" };

/** The GPUs of an inventory as a node advertises them. */
function gpuResources(inventory: Inventory): [string, Quantity][] {
  const counts = new Map<string, Quantity>();
  for (const gpu of inventory.gpus) {
    const name = GPU_RESOURCES[gpu.id.split(":")[0]?.toLowerCase() ?? ""];
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0n) + ONE);
  }
  return [...counts];
}

export function capacityOf(inventory: Inventory): { readonly capacity: Resources; readonly allocatable: Resources } {
  const memory = BigInt(Math.floor(inventory.memoryBytes)) * ONE;
  const disk = BigInt(Math.max(0, ...inventory.disks.map((one) => Math.floor(one.sizeBytes)))) * ONE;
  const cpu = BigInt(inventory.cpu.threads) * ONE;
  const kept = (memory * MEMORY_PERCENT) / 100n - MEMORY_EVICTION;
  const shared: [string, Quantity][] = [["cpu", cpu], ["pods", PODS], ...gpuResources(inventory)];
  return {
    capacity: new Map([...shared, ["memory", memory], ["ephemeral-storage", disk]]),
    allocatable: new Map([...shared, ["memory", whole(kept > 0n ? kept : 0n)], ["ephemeral-storage", whole((disk * DISK_PERCENT) / 100n)]]),
  };
}

function whole(amount: Quantity): Quantity {
  return amount - (amount % MEBIBYTE);
}

/** Labels every node made of a machine carries: what a tenant may know of where it runs. */
export function nodeLabelsOf(machine: Machine): Record<string, string> {
  const { position } = machine.spec;
  const inventory = machine.status?.inventory;
  const gpu = inventory?.gpus[0];
  const labels: Record<string, string | undefined> = {
    "kubernetes.io/arch": inventory && (inventory.architecture === "x86_64" ? "amd64" : "arm64"),
    "kubernetes.io/os": "linux",
    "kubernetes.io/hostname": machine.metadata.name,
    "karpenter.sh/capacity-type": "on-demand",
    [LABEL_MACHINE]: machine.metadata.name,
    [LABEL_SITE]: labelValue(position?.site),
    [LABEL_RACK]: labelValue(position?.rack),
    [LABEL_NVLINK]: labelValue(position?.nvlinkDomain),
    [LABEL_GPU_COUNT]: inventory && inventory.gpus.length > 0 ? String(inventory.gpus.length) : undefined,
    [LABEL_GPU_MODEL]: labelValue(gpu?.model),
  };
  return Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** As much of a text as a label may hold; nothing when nothing is left. */
function labelValue(text: string | undefined): string | undefined {
  const value = (text ?? "")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .slice(0, 63)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
  return value === "" ? undefined : value;
}

/** @param claimed machines that a NodeClaim names, whatever has become of it */
export function machineSupply(machine: Machine, claimed: ReadonlySet<string>, now: Date): MachineSupply {
  const inventory = machine.status?.inventory;
  const unavailable = whyNot(machine, claimed.has(machine.metadata.name), now);
  return {
    name: machine.metadata.name,
    labels: machine.metadata.labels ?? {},
    nodeLabels: nodeLabelsOf(machine),
    ...(inventory ? capacityOf(inventory) : { capacity: new Map(), allocatable: new Map() }),
    gpus: inventory?.gpus.map((gpu) => gpu.id) ?? [],
    disks: inventory?.disks ?? [],
    ...(unavailable === undefined ? {} : { unavailable }),
    ...(machine.status?.imageSha256 ? { imageSha256: machine.status.imageSha256 } : {}),
  };
}

/** Why a machine cannot be claimed now. Tenants read this: it names nobody. */
function whyNot(machine: Machine, claimed: boolean, now: Date): string | undefined {
  const { metadata, spec, status } = machine;
  if (metadata.deletionTimestamp) return "being removed";
  if (spec.maintenance) return "in maintenance";
  if (isTrue(status?.conditions, "Quarantined")) return "quarantined";
  if (status?.phase === "Releasing") return "being wiped";
  if (spec.claimRef || claimed) return "in use";
  if (!status?.inventory || status.phase === undefined || status.phase === "Discovered" || status.phase === "Inspecting")
    return "not inspected yet";
  if (status.phase !== "Available") return "in use";
  if (mayCarryTenant(status)) return "not wiped yet";
  if (!hasConsent(machine)) return "with data nobody consented to erase";
  if (condition(status.conditions, "BMCReachable")?.status === "False") return "out of reach";
  const failed = Date.parse(metadata.annotations?.[ANNOTATION_CLAIM_FAILED] ?? "");
  return now.getTime() - failed < AVOIDED_MS ? "failed a moment ago" : undefined;
}

/** A server that carries data is erased only when somebody said so; what our own wipe left is not somebody's data. */
function hasConsent(machine: Machine): boolean {
  const blank = machine.status?.inventory?.disks.every((disk) => disk.signatures.length === 0) ?? false;
  return machine.spec.erase === true || blank || machine.status?.lastWipe !== undefined;
}

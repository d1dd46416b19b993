import { z } from "zod";
import { IronwrightError } from "../core/errors.ts";
import type { Disk, Gpu, Inventory } from "../core/resources.ts";

/** What playbooks/inspect/facts.sh prints: lines of tab-separated values, each in base64, in base64. */
const printed = z.strictObject({ facts: z.base64() });

const count = z.coerce.number().int().nonnegative();
const flag = z.enum(["0", "1"]).transform((text) => text === "1");
const hex = z.string().regex(/^0x[0-9a-f]{4}$/);

const schemas = {
  system: z.tuple([z.string(), z.string(), z.string(), z.string()]),
  firmware: z.tuple([z.enum(["bios", "uefi"])]),
  architecture: z.tuple([z.enum(["x86_64", "aarch64"])]),
  cpu: z.tuple([z.string(), count, count, count.min(1)]),
  memory: z.tuple([count.min(1), z.string()]),
  disk: z.tuple([z.string().regex(/^[A-Za-z0-9_!-]+$/), z.string(), z.string(), z.string(), count, z.string(), flag, z.string()]),
  nic: z.tuple([z.string(), z.string(), z.string(), z.string()]),
  gpu: z.tuple([z.string().regex(/^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/), hex, hex, z.string(), z.string()]),
};
type Kind = keyof typeof schemas;

/** PCI vendors whose display controllers are accelerators; a server's BMC has a VGA adapter too (ASPEED, Matrox, QEMU). */
const GPU_VENDORS: ReadonlySet<string> = new Set(["0x10de", "0x1002"]);

/** Names lspci has no database for in the installer. */
const GPU_MODELS: Readonly<Record<string, string>> = {
  "10de:2330": "NVIDIA H100 SXM5 80GB",
  "10de:2335": "NVIDIA H200 SXM 141GB",
  "10de:2901": "NVIDIA B200",
  "10de:20b2": "NVIDIA A100 SXM4 80GB",
  "10de:20b0": "NVIDIA A100 SXM4 40GB",
  "10de:26b9": "NVIDIA L40S",
  "10de:2331": "NVIDIA H100 PCIe",
};

/** Manufacturer and product: machines of one model boot alike. */
export function modelOf({ system }: Inventory): string {
  return `${system.manufacturer} ${system.product}`.trim() || "unknown";
}

/**
 * The inventory of what a machine said of itself.
 * @throws IRW_INVENTORY naming what cannot be used
 */
export function inventoryOf(machine: string, result: unknown): Inventory {
  const refuse = (problems: string) => new IronwrightError("IRW_INVENTORY", { machine, problems });
  const parsed = printed.safeParse(result);
  if (!parsed.success) throw refuse("  the inspection printed no facts");
  const facts = readFacts(Buffer.from(parsed.data.facts, "base64").toString("latin1"), refuse);
  const one = <K extends Kind>(kind: K) => {
    const [found] = facts[kind];
    if (!found) throw refuse(`  ${kind}: missing`);
    return found as z.output<(typeof schemas)[K]>;
  };
  const [manufacturer, product, serial, uuid] = one("system");
  const [model, sockets, cores, threads] = one("cpu");
  const [usableKiB, modules] = one("memory");
  return {
    system: { manufacturer, product, serial, uuid: uuid.toLowerCase() },
    firmware: one("firmware")[0],
    architecture: one("architecture")[0],
    cpu: { model, sockets, cores, threads },
    memoryBytes: Math.max(modulesBytes(modules), usableKiB * 1024),
    disks: facts.disk.filter(([, , , , , , readOnly]) => !readOnly).map(diskOf),
    nics: facts.nic.map(([name, mac, driver, carrier]) => ({ name, mac, ...(driver ? { driver } : {}), link: carrier === "1" })),
    gpus: facts.gpu.filter(([, vendor]) => GPU_VENDORS.has(vendor)).map(gpuOf),
  };
}

type Facts = { readonly [K in Kind]: z.output<(typeof schemas)[K]>[] };

function readFacts(text: string, refuse: (problems: string) => IronwrightError): Facts {
  const facts: Facts = { system: [], firmware: [], architecture: [], cpu: [], memory: [], disk: [], nic: [], gpu: [] };
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [kind = "", ...encoded] = line.split("\t");
    if (!isKind(kind)) continue;
    const values = encoded.map((value) => printable(Buffer.from(value, "base64").toString("utf8")));
    const read = schemas[kind].safeParse(values);
    if (!read.success) throw refuse(read.error.issues.map((issue) => `  ${kind} ${values.join(" ")}: ${issue.message}`).join("\n"));
    (facts[kind] as unknown[]).push(read.data);
  }
  return facts;
}

function isKind(text: string): text is Kind {
  return Object.hasOwn(schemas, text);
}

/** Firmware writes what it likes into its strings; Kubernetes stores UTF-8, people read it in terminals. */
function printable(text: string): string {
  return Array.from(text, (letter) => (letter < " " || letter === "\x7f" || letter === "\ufffd" ? " " : letter))
    .join("")
    .trim();
}

function diskOf([name, serial, wwn, model, sizeBytes, rotational, , signatures]: Facts["disk"][number]): Disk {
  return {
    // a `!` in sysfs stands for the slash of names like cciss/c0d0
    path: `/dev/${name.replaceAll("!", "/")}`,
    name,
    serial,
    ...(wwn ? { wwn } : {}),
    model,
    sizeBytes,
    rotational: rotational === "1",
    signatures: [...new Set(signatures.split(/\s+/).filter(Boolean))].sort(),
  };
}

function gpuOf([address, vendor, device, numa, name]: Facts["gpu"][number]): Gpu {
  const id = `${vendor.slice(2)}:${device.slice(2)}`;
  return { address, id, model: GPU_MODELS[id] ?? (name || id), numaNode: Number.parseInt(numa, 10) || 0 };
}

const UNITS: Readonly<Record<string, number>> = { KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };

/** `16 GB` a line, as dmidecode prints them. Control characters became blanks on the way. */
function modulesBytes(text: string): number {
  let bytes = 0;
  for (const [, size, unit] of text.matchAll(/(\d+) ([KMGT]B)/g)) bytes += Number(size) * (UNITS[unit ?? ""] ?? 0);
  return bytes;
}

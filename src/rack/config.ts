import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import ipaddr from "ipaddr.js";
import { parse } from "yaml";
import { z } from "zod";
import { describeIssue } from "../config/index.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";

const ipv4 = z.string().refine((text) => ipaddr.IPv4.isValidFourPartDecimal(text), "an IPv4 address, e.g. 10.77.1.11");
const mac = z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, "a MAC address in lower case, e.g. 52:54:00:77:00:01");
const label = z.string().regex(/^[\w .()-]{1,60}$/, "letters, digits, spaces and .()-_");

const serverSchema = z.strictObject({
  // a tenant's node gets the machine's name: RFC 1123
  name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, "lower-case letters, digits and dashes"),
  firmware: z.enum(["bios", "uefi"]),
  cpus: z.int().min(1).max(64).default(2),
  memoryMiB: z.int().min(128).max(1_048_576).default(1_536),
  disks: z
    .array(z.strictObject({ sizeGiB: z.number().positive().max(16_384), bus: z.enum(["nvme", "virtio"]).default("nvme") }))
    .max(16)
    .default([{ sizeGiB: 8, bus: "nvme" }]),
  gpus: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{4}:[0-9a-f]{4}$/, "a PCI vendor and device ID, e.g. 10de:2330"),
        switch: z.int().min(0).max(7).default(0).describe("the PCIe switch it sits behind"),
      }),
    )
    .max(16)
    .default([]),
  manufacturer: label.default("Ironwright (simulated)"),
  product: label.default("Virtual GPU Server"),
  serial: z
    .string()
    .regex(/^[\w-]{1,16}$/, "at most 16 letters, digits, dashes")
    .optional(),
  bootMAC: mac,
  bmc: z.strictObject({
    address: ipv4,
    username: z.string().min(1).default("admin"),
    password: z.string().min(1).default("ironwright"),
  }),
});

/** A rack's description, as `ironwright rack up -f` reads it. */
export const rackSchema = z
  .strictObject({
    // an interface's name has 15 characters, and the longest here is iw-NAME-out
    name: z
      .string()
      .regex(/^[a-z][a-z0-9]{0,7}$/, "at most 8 lower-case letters and digits, a letter first")
      .default("rack"),
    subnet: z
      .string()
      .refine(isSlash16, "an IPv4 network of 16 bits, e.g. 10.77.0.0/16")
      .default("10.77.0.0/16")
      .describe("x.y.0.0/24 is the provisioning network, x.y.1.0/24 the BMCs', x.y.254.0/30 the way out"),
    // a Unix socket's path has 107 bytes, and sockets lie in DIRECTORY/SERVER/
    directory: z
      .string()
      .regex(/^\/[\w.@+/-]*$/, "an absolute path of letters, digits and ._@+-")
      .max(60, "at most 60 characters: Unix sockets lie in it")
      .optional(),
    servers: z.array(serverSchema).min(1).max(200),
  })
  .superRefine((rack, context) => {
    const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: "custom", path, message });
    const seen = new Set<string>();
    for (const [index, server] of rack.servers.entries()) {
      const at = ["servers", index];
      for (const [key, value] of [
        ["name", server.name],
        ["bootMAC", server.bootMAC],
        ["bmc", server.bmc.address],
      ] as const) {
        if (seen.has(value)) refuse([...at, key], `${value} is another server's already`);
        seen.add(value);
      }
      if (!isSlash16(rack.subnet)) continue;
      const bmcs = `${prefixOf(rack.subnet)}.1.`;
      if (!server.bmc.address.startsWith(bmcs) || /\.(0|1|255)$/.test(server.bmc.address))
        refuse([...at, "bmc", "address"], `must be in ${bmcs}0/24, from ${bmcs}2`);
    }
  });

export type Rack = z.output<typeof rackSchema> & { readonly directory: string };
export type Server = Rack["servers"][number];

/** Two servers, one of each firmware, powered off: what the demo runs. */
export function defaultRack(options: { readonly directory?: string; readonly name?: string; readonly subnet?: string } = {}): Rack {
  const subnet = options.subnet ?? "10.77.0.0/16";
  const server = (name: string, firmware: string, index: number) => ({
    name,
    firmware,
    bootMAC: `52:54:00:77:00:0${index}`,
    gpus: [{ id: "10de:2330" }, { id: "10de:2330" }],
    bmc: { address: `${prefixOf(subnet)}.1.1${index}` },
  });
  return checked({ ...options, servers: [server("bios-1", "bios", 1), server("uefi-1", "uefi", 2)] }, "the default rack");
}

/** The rack a YAML file describes; the default one without a file. */
export function readRack(file?: string): Rack {
  if (file === undefined) return defaultRack();
  let document: unknown;
  try {
    document = parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new IronwrightError("IRW_CONFIG_INVALID", { source: file, problems: reasonOf(error) }, error);
  }
  return checked(document, file);
}

/** @throws IRW_CONFIG_INVALID naming every field that is not valid */
export function checked(document: unknown, source: string): Rack {
  const parsed = rackSchema.safeParse(document);
  if (!parsed.success)
    throw new IronwrightError("IRW_CONFIG_INVALID", { source, problems: parsed.error.issues.map(describeIssue).join("\n") });
  const rack = parsed.data;
  return { ...rack, directory: rack.directory ?? join(homedir(), ".cache", "ironwright", "racks", rack.name) };
}

/** The rack's network namespace. */
export function namespaceOf(rack: Pick<Rack, "name">): string {
  return `iw-${rack.name}`;
}

/** Stable, so that a rebuilt rack has the same machines. */
export function serialOf(rack: Pick<Rack, "name">, server: Server): string {
  return server.serial ?? `IW${digest(rack, server).slice(0, 8).toUpperCase()}`;
}

/** A UUID of version 8 (RFC 9562 §5.8), made of the rack's and the server's names. */
export function uuidOf(rack: Pick<Rack, "name">, server: Server): string {
  const hex = digest(rack, server);
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
}

function digest(rack: Pick<Rack, "name">, server: Server): string {
  return createHash("sha256").update(`${rack.name}/${server.name}`).digest("hex");
}

/** `10.77` of `10.77.0.0/16`. */
export function prefixOf(subnet: string): string {
  return subnet.split(".").slice(0, 2).join(".");
}

function isSlash16(text: string): boolean {
  return text.endsWith(".0.0/16") && ipaddr.IPv4.isValidCIDRFourPartDecimal(text);
}

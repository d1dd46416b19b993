import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { IronwrightError } from "../core/errors.ts";
import { namespaceOf, prefixOf, type Rack } from "./config.ts";

/** The rack's networks; all but `outside` are in its own namespace. */
export function addressesOf(rack: Pick<Rack, "name" | "subnet">) {
  const prefix = prefixOf(rack.subnet);
  return {
    provisioning: { name: "prov0", address: `${prefix}.0.1/24` },
    bmcs: { name: "bmc0", address: `${prefix}.1.1/24` },
    inside: { name: "out0", address: `${prefix}.254.2/30` },
    /** The only interface in the host's own namespace: how people reach in. */
    outside: { name: `iw-${rack.name}-out`, address: `${prefix}.254.1/30` },
  };
}

export function tapOf(index: number): string {
  return `tap${index}`;
}

/** Lines for `ip -batch` inside the namespace. */
export function insideCommands(rack: Rack, owner: string): readonly string[] {
  const { provisioning, bmcs, inside } = addressesOf(rack);
  return [
    "link set lo up",
    // no forwarding delay, or DHCP's first seconds are lost; the MAC is fixed, or it changes with the ports
    `link add ${provisioning.name} address 02:00:00:00:00:01 type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `link set ${provisioning.name} alias ${owner}`,
    `link set ${provisioning.name} addrgenmode none`,
    `addr add ${provisioning.address} dev ${provisioning.name}`,
    `link set ${provisioning.name} up`,
    `link add ${bmcs.name} type bridge`,
    `link set ${bmcs.name} addrgenmode none`,
    `addr add ${bmcs.address} dev ${bmcs.name}`,
    ...rack.servers.map((server) => `addr add ${server.bmc.address}/24 dev ${bmcs.name}`),
    `link set ${bmcs.name} up`,
    ...rack.servers.flatMap((_, index) => [
      `tuntap add dev ${tapOf(index)} mode tap`,
      `link set ${tapOf(index)} addrgenmode none`,
      `link set ${tapOf(index)} master ${provisioning.name}`,
      `link set ${tapOf(index)} up`,
    ]),
    `addr add ${inside.address} dev ${inside.name}`,
    `link set ${inside.name} up`,
  ];
}

/** Lines for `ip -batch` in the host's namespace: the one interface made there. */
export function outsideCommands(rack: Rack, owner: string): readonly string[] {
  const { inside, outside } = addressesOf(rack);
  return [
    `link add ${outside.name} type veth peer name ${inside.name} netns ${namespaceOf(rack)}`,
    `link set ${outside.name} alias ${owner}`,
    `addr add ${outside.address} dev ${outside.name}`,
    `link set ${outside.name} up`,
  ];
}

/** What the host has that a rack could collide with. */
export interface HostNetwork {
  readonly namespaces: readonly string[];
  readonly links: readonly { readonly name: string; readonly alias?: string | undefined }[];
  /** Addresses and routes as networks, with where they stand. */
  readonly networks: readonly { readonly cidr: string; readonly what: string }[];
}

/** Why this rack cannot come up beside what is there; undefined when it can. Nothing of it is ours at this point. */
export function conflictOf(rack: Pick<Rack, "name" | "subnet">, host: HostNetwork): string | undefined {
  const namespace = namespaceOf(rack);
  const { outside } = addressesOf(rack);
  if (host.namespaces.includes(namespace)) return `there is a network namespace ${namespace} that this rack did not make`;
  const link = host.links.find((one) => one.name === outside.name);
  if (link) return `there is an interface ${outside.name} that this rack did not make${link.alias ? ` (${link.alias})` : ""}`;
  const taken = host.networks.find((one) => overlap(one.cidr, rack.subnet));
  return taken ? `its subnet ${rack.subnet} overlaps ${taken.cidr} (${taken.what})` : undefined;
}

function overlap(a: string, b: string): boolean {
  const [first, firstBits] = ipaddr.IPv4.parseCIDR(a);
  const [second, secondBits] = ipaddr.IPv4.parseCIDR(b);
  return first.match(second, Math.min(firstBits, secondBits));
}

const linksSchema = z.array(
  z.object({
    ifname: z.string().optional(),
    ifalias: z.string().optional(),
    addr_info: z.array(z.object({ local: z.string(), prefixlen: z.int() })).optional(),
  }),
);
const routesSchema = z.array(z.object({ dst: z.string(), dev: z.string().optional() }));

export async function readHostNetwork(): Promise<HostNetwork> {
  const links = linksSchema.parse(JSON.parse((await ip(["-json", "-4", "addr", "show"])) || "[]"));
  const all = linksSchema.parse(JSON.parse((await ip(["-json", "link", "show"])) || "[]"));
  const routes = routesSchema.parse(JSON.parse((await ip(["-json", "-4", "route", "show", "table", "all", "type", "unicast"])) || "[]"));
  return {
    namespaces: existsSync(NAMESPACES) ? readdirSync(NAMESPACES) : [],
    links: all.flatMap((one) => (one.ifname ? [{ name: one.ifname, alias: one.ifalias }] : [])),
    networks: [
      ...links.flatMap((one) =>
        (one.addr_info ?? []).map((at) => ({ cidr: `${at.local}/${at.prefixlen}`, what: `an address of ${one.ifname}` })),
      ),
      ...routes
        .filter((one) => one.dst !== "default" && one.dst !== "0.0.0.0/0")
        .map((one) => ({ cidr: one.dst.includes("/") ? one.dst : `${one.dst}/32`, what: `a route by ${one.dev ?? "?"}` })),
    ],
  };
}

const NAMESPACES = "/run/netns";

export function namespaceExists(rack: Pick<Rack, "name">): boolean {
  return existsSync(`${NAMESPACES}/${namespaceOf(rack)}`);
}

/** Whether `ip netns` has its mount already; the first `ip netns add` of a host makes one, and never takes it back. */
export function namespacesMounted(): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8").includes(` ${NAMESPACES} `);
}

/** Takes back the mount of `ip netns`, unless somebody's namespace is in it. */
export async function unmountNamespaces(): Promise<void> {
  if (!namespacesMounted() || readdirSync(NAMESPACES).length > 0) return;
  await run("umount", [NAMESPACES]);
  rmdirSync(NAMESPACES);
}

/** The alias a link carries in `namespace` (the host's when undefined); undefined when there is no such link. */
export async function aliasOf(link: string, namespace?: string): Promise<string | undefined> {
  const found = await ip([...(namespace ? ["-n", namespace] : []), "-json", "link", "show", "dev", link]).catch(() => "[]");
  const [first] = linksSchema.parse(JSON.parse(found || "[]"));
  return first ? (first.ifalias ?? "") : undefined;
}

export function ip(args: readonly string[], input?: string): Promise<string> {
  return run("ip", args, input);
}

export function ipBatch(lines: readonly string[], namespace?: string): Promise<string> {
  return ip([...(namespace ? ["-n", namespace] : []), "-batch", "-"], `${lines.join("\n")}\n`);
}

async function run(command: string, args: readonly string[], input = ""): Promise<string> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [out, err] = [child.stdout, child.stderr].map(async (stream) => {
    let text = "";
    for await (const part of stream) text += part;
    return text;
  });
  const code = await new Promise<number | string>((resolve) => {
    child.once("close", (status, signal) => resolve(status ?? signal ?? "?"));
    child.once("error", (error) => resolve(error.message));
  });
  if (code === 0) return (await out) ?? "";
  throw new IronwrightError("IRW_RACK_CONFLICT", { what: `\`${command} ${args.join(" ")}\` failed (${code}): ${(await err)?.trim()}` });
}

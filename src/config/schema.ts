import { homedir } from "node:os";
import { join } from "node:path";
import ipaddr from "ipaddr.js";
import { z } from "zod";

const port = z.int().min(1).max(65535);
const ipv4 = z.string().refine((text) => ipaddr.IPv4.isValidFourPartDecimal(text), "an IPv4 address, e.g. 10.0.0.1");
const cidr = z.string().refine((text) => ipaddr.IPv4.isValidCIDRFourPartDecimal(text), "an IPv4 address with its prefix, e.g. 10.0.0.1/24");

const bootInterface = z
  .strictObject({
    name: z.string().min(1).max(15).describe("network interface the boot plane listens on; no other is answered"),
    address: cidr.describe("the daemon's address on it, with the network's prefix"),
    pool: z.strictObject({ from: ipv4, to: ipv4 }).describe("addresses it may lease"),
    mode: z.enum(["reservation", "off"]).default("reservation").describe("reservation: answers with a lease and a boot program"),
    router: ipv4.optional().describe("default gateway given to machines; none is given when absent"),
    routerAdvertisements: z
      .boolean()
      .default(false)
      .describe("answer router solicitations with a lifetime of 0, which saves iPXE 16 s; only on a network that is yours alone"),
  })
  .superRefine((at, context) => {
    const problem = poolProblem(at);
    if (problem) context.addIssue({ code: "custom", path: ["pool"], message: problem });
  });

/** The whole configuration: file, then `IRONWRIGHT_*`, then flags. Every key is optional. */
export const configSchema = z.strictObject({
  dataDir: z.string().min(1).default("/var/lib/ironwright").describe("state: certificates, leases, control planes"),
  artifacts: z
    .string()
    .default(join(homedir(), ".cache", "ironwright", "artifacts.json"))
    .describe("index of what `npm run setup` made or fetched"),
  log: z
    .strictObject({
      level: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
    })
    .prefault({}),
  redis: z
    .strictObject({ url: z.string().regex(/^rediss?:\/\//, "redis://… or rediss://…") })
    .optional()
    .describe("an external Redis; without it an embedded one is run"),
  host: z
    .strictObject({
      kubeconfig: z.string().optional().describe("an existing cluster to use as host control plane; without it an embedded one is run"),
      address: ipv4.default("127.0.0.1").describe("where the embedded host apiserver listens"),
      port: port.default(6443),
    })
    .prefault({}),
  supervisor: z
    .strictObject({
      socket: z.string().optional().describe("Unix socket; default <dataDir>/run/supervisor.sock"),
      embedded: z.boolean().default(true).describe("start the supervisor when none answers"),
    })
    .prefault({}),
  boot: z
    .strictObject({
      interfaces: z.array(bootInterface).default([]).describe("none: the boot plane is off"),
      httpPort: port.default(8080),
    })
    .prefault({}),
  tenants: z
    .strictObject({
      nodes: ipv4.default("127.0.0.1").describe("the address nodes dial their control plane at"),
      people: z.array(ipv4).default(["127.0.0.1"]).describe("addresses people dial tenants' control planes at"),
      ports: z
        .strictObject({ from: port.default(16443), to: port.default(17442) })
        .refine((range) => range.from <= range.to, "from must not be greater than to")
        .prefault({}),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;

function poolProblem(at: { address: string; pool: { from: string; to: string } }): string | undefined {
  const all = [at.pool.from, at.pool.to];
  if (!all.every((text) => ipaddr.IPv4.isValidFourPartDecimal(text)) || !ipaddr.IPv4.isValidCIDRFourPartDecimal(at.address))
    return undefined;
  const [own, prefix] = ipaddr.IPv4.parseCIDR(at.address);
  const [from, to] = all.map((text) => ipaddr.IPv4.parse(text));
  if (!from || !to) return undefined;
  if (!from.match(own, prefix) || !to.match(own, prefix))
    return `lies outside ${at.address}: it would hand out another network's addresses`;
  if (number(from) > number(to)) return "from is greater than to";
  if (number(from) <= number(own) && number(own) <= number(to)) return `holds the daemon's own address ${own}`;
  return undefined;
}

function number(address: ipaddr.IPv4): number {
  return address.toByteArray().reduce((sum, byte) => sum * 256 + byte, 0);
}

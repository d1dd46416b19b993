import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { parseDuration } from "../core/duration.ts";
import { parseQuantity } from "../core/quantity.ts";
import { backupSchema } from "./backup-schema.ts";
import { bootSchema, ipv4 } from "./boot-schema.ts";

const port = z.int().min(1).max(65535);
/** 65534 is nobody's, and below are the host's own. */
const uid = z.int().min(65_536).max(4_294_967_293);
const LONGEST_LIFE_MS = 3650 * 86_400_000;
const life = (shortest: string) =>
  z.string().refine((text) => {
    const ms = parseDuration(text) ?? 0;
    return ms >= (parseDuration(shortest) ?? 0) && ms <= LONGEST_LIFE_MS;
  }, `must be a duration such as 168h, at least ${shortest}`);

function quantity(least: string) {
  return z
    .string()
    .refine((text) => (parseQuantity(text) ?? 0n) >= (parseQuantity(least) ?? 0n), `must be a quantity of at least ${least}`);
}

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
  boot: bootSchema.prefault({}),
  backup: backupSchema.optional(),
  api: z
    .strictObject({
      metrics: z
        .strictObject({ address: ipv4.describe("where /metrics, and nothing else, is served to whoever asks"), port: port.default(9464) })
        .optional()
        .describe("absent: metrics are at the daemon's own socket alone"),
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
      datastore: z
        .strictObject({
          tenantsPerShard: z
            .int()
            .min(1)
            .max(200)
            .default(20)
            .describe("tenants that share one etcd at most; also what one etcd's failure takes along"),
          quotaMebibytes: z
            .int()
            .min(8)
            .max(2867)
            .default(128)
            .describe("what the objects of a tenant may weigh; quotas in one etcd sum up to 2867 MiB at most, then there is a new one"),
        })
        .prefault({}),
      isolation: z
        .enum(["cells", "none"])
        .default("cells")
        .describe(
          "cells: each control plane apart, by a supervisor that is root; none: as processes like any other, which reach this host",
        ),
      uids: z
        .strictObject({
          from: uid
            .default(2_000_000)
            .describe("users of this host that are nobody else's: the first is the gateway's, each other one a tenant's"),
          to: uid.default(2_065_535),
        })
        .refine((range) => range.from < range.to, "from must be less than to")
        .prefault({}),
      warm: z
        .int()
        .min(0)
        .max(100)
        .default(2)
        .describe("control planes kept ready for tenants to come; they sleep, and take a port, a user and 0.3Gi of swap each"),
      sleep: z
        .strictObject({
          swap: quantity("0")
            .default("4Gi")
            .describe(
              "size of the swap that sleeping control planes are frozen into, 0.3Gi each; made when the first one sleeps; 0: none of ours, and without other swap they are stopped",
            ),
          swapMedium: z
            .enum(["file", "zram"])
            .default("file")
            .describe("file: in dataDir; zram: compressed in this host's memory, a fourth of their size or less, and never on a disk"),
          swapEncryption: z
            .enum(["prefer", "require", "off"])
            .default("prefer")
            .describe(
              "of the file. prefer: by dm-crypt, with a key of this boot that nobody keeps, else in clear, and it is said; require: where that cannot be, sleepers are stopped; off: the disk is encrypted already",
            ),
        })
        .prefault({}),
      limits: z
        .strictObject({
          cpu: quantity("100m").default("4").describe("cores that one control plane may use, as Kubernetes writes quantities"),
          memory: quantity("256Mi").default("4Gi").describe("memory of one control plane"),
          pids: z.int().min(64).default(1024).describe("threads and processes of one control plane"),
        })
        .prefault({}),
      certificates: z
        .strictObject({
          life: life("1h").default("168h").describe("how long a control plane's own certificates live; renewed when a third is left"),
          people: life("1h").default("8760h").describe("how long the administrator's certificate in a kubeconfig lives"),
        })
        .prefault({}),
      frontDoor: z
        .strictObject({
          address: ipv4.default("0.0.0.0").describe("where people of all tenants come in, told apart by the name they call (SNI)"),
          port: port
            .default(16442)
            .describe("below 1024 only where net.ipv4.ip_unprivileged_port_start allows it: the gateway is unprivileged"),
        })
        .prefault({}),
      domain: z
        .string()
        .max(190)
        .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/, "a DNS name in lower case")
        .default("tenants.ironwright.internal")
        .describe("people reach TENANT.PROJECT.<domain>, which DNS leads to the front door"),
    })
    .refine(({ ports, frontDoor }) => frontDoor.port < ports.from || ports.to < frontDoor.port, {
      path: ["frontDoor", "port"],
      message: "must not be one of tenants.ports",
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;

import ipaddr from "ipaddr.js";
import { z } from "zod";
import { writeOption } from "../wire/index.ts";
import { bootProblems } from "./boot-rules.ts";

const port = z.int().min(1).max(65535);
export const ipv4 = z.string().refine((text) => ipaddr.IPv4.isValidFourPartDecimal(text), "an IPv4 address, e.g. 10.0.0.1");
const cidr = z.string().refine((text) => ipaddr.IPv4.isValidCIDRFourPartDecimal(text), "an IPv4 address with its prefix, e.g. 10.0.0.1/24");
const hardware = z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){2})?$/, "a MAC or a port GUID in lower case with colons");
const octets = z.string().regex(/^(0x)?([0-9a-f]{2}:?)+$/i, "bytes in hexadecimal, e.g. 01:52:54:00:77:00:01");
const seconds = z.int().min(60).max(31_536_000);

const range = z.strictObject({ from: ipv4, to: ipv4 });
/** One range, or several. */
const pool = z.union([range, z.array(range).min(1)], "{from, to}, or a list of such ranges");

const architecture = z.enum(["bios", "x64-uefi", "arm64-uefi", "unknown"]);

/** What the server writes itself, by the RFCs: nobody else may. */
const OWN_OPTIONS = new Set([1, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 82, 97, 121]);

const option = z
  .strictObject({
    code: z
      .int()
      .min(1)
      .max(254)
      .refine((code) => !OWN_OPTIONS.has(code), "the server writes this option itself"),
    value: z
      .union([z.string(), z.number(), z.boolean(), z.array(z.string()).min(1), z.array(z.number()).min(1)])
      .optional()
      .describe("in the option's own type"),
    hex: octets.optional().describe("the bytes themselves, where value cannot say them"),
    always: z.boolean().default(false).describe("also to clients that did not ask for it (option 55)"),
    when: z
      .strictObject({
        vendorClass: z.string().min(1).optional().describe("how option 60 begins"),
        arch: z.array(architecture).min(1).optional(),
      })
      .optional()
      .describe("only to such clients"),
  })
  .superRefine((one, context) => {
    if ((one.value === undefined) === (one.hex === undefined)) context.addIssue({ code: "custom", message: "needs either value or hex" });
    else if (one.value !== undefined && writeOption(one.code, one.value) === undefined)
      context.addIssue({ code: "custom", path: ["value"], message: `is not a value of option ${one.code}; give its bytes as hex` });
  });

const circuit = z.string().min(1).max(255).describe("text, or bytes as 0x…");

const reservation = z
  .strictObject({
    mac: hardware.optional(),
    clientId: octets.optional().describe("option 61, whole, in hexadecimal"),
    uuid: z.guid().optional().describe("option 97, as the machine's SMBIOS prints it"),
    circuitId: circuit.optional().describe("option 82.1: the switch port, as the relay names it"),
    remoteId: circuit.optional().describe("option 82.2: the switch; with circuitId both must match"),
    machine: z.string().min(1).optional().describe("the Machine this is, whatever its MAC"),
    address: ipv4.optional(),
    hostname: z
      .string()
      .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "a DNS label in lower case")
      .optional(),
    secureBoot: z.enum(["off", "required"]).optional(),
    options: z.array(option).default([]),
  })
  .refine(
    (one) => [one.mac, one.clientId, one.uuid, one.circuitId, one.remoteId].some((identity) => identity !== undefined),
    "names nobody: give mac, clientId, uuid, circuitId or remoteId",
  );

const bmc = z
  .strictObject({
    pool: pool.describe("addresses BMCs get, and nobody else"),
    vendorClasses: z.array(z.string().min(1)).default([]).describe("how a BMC's option 60 begins, e.g. iDRAC"),
    ouis: z
      .array(z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){2,4}$/, "the first bytes of a MAC, e.g. 50:7c:6f"))
      .default([])
      .describe("how a BMC's MAC begins"),
  })
  .refine((one) => one.vendorClasses.length + one.ouis.length > 0, "nothing tells a BMC: give vendorClasses or ouis");

const network = {
  pool: pool.optional().describe("addresses it may lease to anybody"),
  router: ipv4.optional().describe("default gateway given to machines; none is given when absent"),
  routes: z
    .array(z.strictObject({ to: cidr, via: ipv4 }))
    .default([])
    .describe("other routes for machines (option 121)"),
  bmc: bmc.optional().describe("a range of their own for BMCs"),
  reservations: z.array(reservation).default([]).describe("clients with an address, a name, a Machine or options of their own"),
  options: z.array(option).default([]).describe("DHCP options given to clients; a reservation's win, then a subnet's"),
};

const subnet = z.strictObject({
  network: cidr.describe("the network behind a relay, e.g. 10.78.0.0/24"),
  relays: z
    .array(ipv4)
    .default([])
    .describe("relays that may speak for it from outside it (link selection); those inside it may, at addresses that no client is given"),
  ...network,
});

export const bootInterface = z.strictObject({
  name: z
    .string()
    .regex(/^[^\s/:@=]{1,15}$/, "the name of a network interface")
    .describe("network interface the boot plane listens on; no other is answered"),
  address: cidr.describe("the daemon's address on it, with the network's prefix"),
  mode: z
    .enum(["reservation", "proxy", "auto-proxy", "off"])
    .default("reservation")
    .describe(
      "reservation: leases and boot programs; proxy: boot programs alone, to known machines, beside the site's DHCP server; auto-proxy: to unknown ones as well, which are told to be declared",
    ),
  ...network,
  subnets: z.array(subnet).default([]).describe("networks whose relays send here"),
  lease: z
    .strictObject({
      machines: seconds.default(3 * 86_400).describe("seconds, for known machines and reservations"),
      others: seconds.default(3600).describe("seconds, for everybody else"),
    })
    .prefault({}),
  authoritative: z
    .boolean()
    .default(true)
    .describe("the only DHCP server here: clients with a wrong address are told so (NAK); otherwise they are left alone"),
  snooping: z
    .boolean()
    .default(false)
    .describe("switches here write option 82 without being relays and drop what clients wrote; otherwise only a relay's counts"),
  conflictProbe: z
    .boolean()
    .default(false)
    .describe("ask by ARP whether somebody uses an address before a client is given it that has not had it; takes 0.4 s then"),
  secureBoot: z
    .enum(["off", "required"])
    .default("off")
    .describe("required: signed shim and GRUB to UEFI clients, nothing to those that cannot; off: iPXE, which is not signed"),
  routerAdvertisements: z
    .boolean()
    .default(false)
    .describe(
      "answer router solicitations of machines that boot from here with a lifetime of 0, which saves iPXE 16 s; nobody else is answered",
    ),
});

export const bootSchema = z
  .strictObject({
    interfaces: z.array(bootInterface).default([]).describe("none: the boot plane is off"),
    httpPort: port.default(8080),
    https: z
      .strictObject({
        port: port.default(8443),
        certificate: z.string().optional().describe("a PEM file, with key; without them one of our own authority is made and renewed"),
        key: z.string().optional().describe("the certificate's private key, a PEM file"),
        httpBoot: z
          .boolean()
          .default(false)
          .describe(
            "send UEFI HTTP Boot here: only where <dataDir>/boot-pki/boot-ca.crt, or the certificate's authority, is enrolled in the firmware",
          ),
      })
      .refine((https) => (https.certificate === undefined) === (https.key === undefined), "certificate and key come together")
      .optional()
      .describe("the same assets by HTTPS as well; without it there is HTTP alone"),
  })
  .superRefine((boot, context) => {
    for (const { path, message } of bootProblems(boot.interfaces))
      context.addIssue({ code: "custom", path: ["interfaces", ...path], message });
  });

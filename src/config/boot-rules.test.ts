import { expect, test } from "vitest";
import { configSchema } from "./schema.ts";

/** What is wrong with such interfaces, as `interfaces[0].pool: …`. */
function problems(...interfaces: readonly object[]): readonly string[] {
  const parsed = configSchema.shape.boot.safeParse({ interfaces });
  return parsed.success
    ? []
    : parsed.error.issues.map(({ path, message }) =>
        `${path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("")}: ${message}`.slice(1),
      );
}

const pool = { from: "10.77.0.10", to: "10.77.0.99" };
const eth0 = { name: "eth0", address: "10.77.0.1/24", pool };
const rack = { network: "10.78.0.0/24", pool: { from: "10.78.0.10", to: "10.78.0.99" } };

test.each<[string, object]>([
  ["one pool an interface", eth0],
  ["several pools", { ...eth0, pool: [pool, { from: "10.77.0.200", to: "10.77.0.210" }] }],
  [
    "networks behind relays",
    { ...eth0, subnets: [rack, { ...rack, network: "10.79.0.0/16", pool: { from: "10.79.1.0", to: "10.79.255.254" } }] },
  ],
  [
    "reserved addresses alone",
    { name: "eth0", address: "10.77.0.1/24", reservations: [{ mac: "52:54:00:00:00:01", address: "10.77.0.9" }] },
  ],
  ["ProxyDHCP", { name: "eth0", address: "10.77.0.1/24", mode: "proxy" }],
  ["a range for BMCs", { ...eth0, bmc: { pool: { from: "10.77.0.200", to: "10.77.0.210" }, ouis: ["50:7c:6f"] } }],
  [
    "options",
    {
      ...eth0,
      options: [
        { code: 6, value: ["10.77.0.53"] },
        { code: 43, hex: "01:02", when: { vendorClass: "iDRAC" } },
      ],
    },
  ],
])("%s is taken", (_, at) => {
  expect(problems(at)).toEqual([]);
});

test.each<[string, string, readonly object[]]>([
  [
    "another network's addresses",
    "interfaces[0].pool: lies outside 10.77.0.0/24",
    [{ ...eth0, pool: { from: "10.78.0.1", to: "10.78.0.9" } }],
  ],
  ["addresses the wrong way round", "interfaces[0].pool: from is greater", [{ ...eth0, pool: { from: "10.77.0.9", to: "10.77.0.5" } }]],
  [
    "the daemon's own address",
    "interfaces[0].pool: holds the daemon's own address 10.77.0.1",
    [{ ...eth0, pool: { from: "10.77.0.1", to: "10.77.0.9" } }],
  ],
  ["the broadcast address", "interfaces[0].pool: holds 10.77.0.255", [{ ...eth0, pool: { from: "10.77.0.200", to: "10.77.0.255" } }]],
  [
    "pools that overlap",
    "interfaces[0].pool[1]: overlaps interfaces[0].pool[0]",
    [{ ...eth0, pool: [pool, { from: "10.77.0.99", to: "10.77.0.120" }] }],
  ],
  [
    "a BMC's pool within the others'",
    "interfaces[0].bmc.pool: overlaps interfaces[0].pool",
    [{ ...eth0, bmc: { pool: { from: "10.77.0.50", to: "10.77.0.60" }, ouis: ["50:7c:6f"] } }],
  ],
  [
    "BMCs that nothing tells",
    "interfaces[0].bmc: nothing tells a BMC",
    [{ ...eth0, bmc: { pool: { from: "10.77.0.200", to: "10.77.0.210" } } }],
  ],
  ["no addresses at all", "interfaces[0].pool: is missing", [{ name: "eth0", address: "10.77.0.1/24" }]],
  [
    "one interface twice",
    "interfaces[1].name: eth0 is configured already",
    [eth0, { ...eth0, address: "10.80.0.1/24", pool: { from: "10.80.0.5", to: "10.80.0.9" } }],
  ],
  [
    "interfaces whose networks overlap",
    "interfaces[1].address: overlaps 10.77.0.0/24 of interfaces[0].address",
    [eth0, { ...eth0, name: "eth1", address: "10.77.0.2/24" }],
  ],
  [
    "a relayed network that is another interface's",
    "interfaces[1].subnets[0].network: overlaps 10.77.0.0/24",
    [
      eth0,
      {
        name: "eth1",
        address: "10.80.0.1/24",
        pool: { from: "10.80.0.5", to: "10.80.0.9" },
        subnets: [{ ...rack, network: "10.77.0.128/25", pool: { from: "10.77.0.130", to: "10.77.0.140" } }],
      },
    ],
  ],
  [
    "a relayed pool outside its network",
    "interfaces[0].subnets[0].pool: lies outside 10.78.0.0/24",
    [{ ...eth0, subnets: [{ ...rack, pool }] }],
  ],
  ["a router elsewhere", "interfaces[0].router: lies outside 10.77.0.0/24", [{ ...eth0, router: "10.78.0.1" }]],
  [
    "a route by a router elsewhere",
    "interfaces[0].routes[0].via: lies outside",
    [{ ...eth0, routes: [{ to: "10.0.0.0/8", via: "10.78.0.1" }] }],
  ],
  [
    "a reservation outside",
    "interfaces[0].reservations[0].address: lies outside",
    [{ ...eth0, reservations: [{ mac: "52:54:00:00:00:01", address: "10.78.0.9" }] }],
  ],
  [
    "a reservation of the daemon's address",
    "interfaces[0].reservations[0].address: is the daemon's own",
    [{ ...eth0, reservations: [{ mac: "52:54:00:00:00:01", address: "10.77.0.1" }] }],
  ],
  [
    "a reservation of the router's address",
    "interfaces[0].reservations[0].address: is the router's",
    [{ ...eth0, router: "10.77.0.254", reservations: [{ mac: "52:54:00:00:00:01", address: "10.77.0.254" }] }],
  ],
  [
    "one client twice",
    "interfaces[0].reservations[1].mac: is that of reservations[0] as well",
    [{ ...eth0, reservations: [{ mac: "52:54:00:00:00:01" }, { mac: "52:54:00:00:00:01", hostname: "a" }] }],
  ],
  [
    "one address twice",
    "interfaces[0].reservations[1].address: is that of reservations[0] as well",
    [
      {
        ...eth0,
        reservations: [
          { mac: "52:54:00:00:00:01", address: "10.77.0.5" },
          { mac: "52:54:00:00:00:02", address: "10.77.0.5" },
        ],
      },
    ],
  ],
  ["a reservation of nobody", "interfaces[0].reservations[0]: names nobody", [{ ...eth0, reservations: [{ address: "10.77.0.5" }] }]],
  ["a pool beside ProxyDHCP", "interfaces[0].pool: mode proxy gives no addresses", [{ ...eth0, mode: "proxy" }]],
  [
    "an option of the server's own",
    "interfaces[0].options[0].code: the server writes this option itself",
    [{ ...eth0, options: [{ code: 54, hex: "01" }] }],
  ],
  [
    "an option's value of another type",
    "interfaces[0].options[0].value: is not a value of option 6",
    [{ ...eth0, options: [{ code: 6, value: "dns" }] }],
  ],
  ["an option without a value", "interfaces[0].options[0]: needs either value or hex", [{ ...eth0, options: [{ code: 6 }] }]],
  [
    "the loopback network",
    "interfaces[0].address: is no network that machines are on",
    [{ ...eth0, address: "127.0.0.1/24", pool: { from: "127.0.0.5", to: "127.0.0.9" } }],
  ],
  ["a network as its own host", "interfaces[0].address: is the network's own", [{ ...eth0, address: "10.77.0.0/24" }]],
  [
    "a relay that is the daemon",
    "interfaces[0].subnets[0].relays[0]: is the daemon's own address",
    [{ ...eth0, subnets: [{ ...rack, relays: ["10.77.0.1"] }] }],
  ],
  ["a mode there is not", "interfaces[0].mode:", [{ ...eth0, mode: "authoritative" }]],
])("%s is refused by its path", (_, expected, interfaces) => {
  expect(problems(...interfaces)).toEqual([expect.stringContaining(expected)]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { type EgressPolicy, mayDial } from "./egress-policy.ts";

const ssh = { address: "10.77.0.11", port: 22, user: "forward", keyFile: "/k", hostKey: "ssh-ed25519 AAAA" };
const near = { name: "bios-1", addresses: ["10.77.0.11"], podCIDR: "10.244.1.0/24", ssh };
const far = {
  name: "uefi-1.rack",
  addresses: ["10.77.0.12", "fd00:77::12"],
  podCIDR: "10.244.2.0/24",
  ssh: { ...ssh, address: "10.77.0.12" },
};
const policy: EgressPolicy = {
  nodes: [near, far],
  podCIDR: "10.244.0.0/16",
  serviceCIDR: "10.96.0.0/16",
  fences: [
    { network: "10.244.9.0/24", whose: "the BMCs' network" },
    { network: "10.77.0.1", whose: "the provisioning address" },
  ],
  foreign: (address) => ({ "192.168.1.10": "an address of this host", "10.77.0.99": "a node of another tenant" })[address],
};

test.each([
  ["10.77.0.11", 10250, "10.77.0.11"],
  ["bios-1", 10250, "10.77.0.11"],
  ["uefi-1.rack", 30080, "10.77.0.12"],
  ["fd00:77::12", 10250, "fd00:77::12"],
  ["FD00:77:0:0:0:0:0:12", 32767, "fd00:77::12"],
])("a node's %s:%i is dialled at %s", (host, port, address) => {
  expect(mayDial(policy, host, port)).toEqual({ allow: true, by: "direct", address, port });
});

test.each([
  ["10.244.1.7", [near, far]],
  ["10.244.2.7", [far, near]],
  ["10.244.200.7", [near, far]],
  ["10.96.0.10", [near, far]],
])("%s is reached through the nodes, the nearest first", (address, nodes) => {
  expect(mayDial(policy, address, 8443)).toEqual({ allow: true, by: "ssh", address, port: 8443, nodes });
});

test.each([
  ["127.0.0.1", 6379, "loopback"],
  ["127.9.9.9", 10250, "loopback"],
  ["::1", 2379, "loopback"],
  ["0.0.0.0", 2379, "no address of anybody"],
  ["::", 2379, "no address of anybody"],
  ["169.254.169.254", 80, "metadata"],
  ["fe80::1", 80, "metadata"],
  ["224.0.0.1", 80, "multicast"],
  ["255.255.255.255", 80, "broadcast"],
  ["::ffff:127.0.0.1", 80, "in the clothes of IPv6"],
  ["::ffff:10.77.0.11", 10250, "in the clothes of IPv6"],
  ["::ffff:a4d:b", 10250, "in the clothes of IPv6"],
  ["64:ff9b::a9fe:a9fe", 80, "in the clothes of IPv6"],
  ["2002:7f00:1::", 80, "in the clothes of IPv6"],
  ["fe80::1%eth0", 80, "not how that address is written"],
  ["2130706433", 80, "not how that address is written"],
  ["0x7f000001", 80, "not how that address is written"],
  ["0x7f.0.0.1", 80, "not how that address is written"],
  ["0177.0.0.1", 80, "not how that address is written"],
  ["127.1", 80, "not how that address is written"],
  ["10.77.0.011", 10250, "not how that address is written"],
  ["10.77.11", 10250, "not how that address is written"],
  ["10.77.0.11.", 10250, "not how that address is written"],
  ["192.168.1.10", 443, "an address of this host"],
  ["10.77.0.99", 10250, "a node of another tenant"],
  ["10.77.0.1", 10250, "the provisioning address"],
  ["10.244.9.4", 443, "the BMCs' network"],
  ["10.77.0.13", 10250, "not an address of the tenant's"],
  ["8.8.8.8", 53, "not an address of the tenant's"],
  ["localhost", 80, "is a name"],
  ["metadata.google.internal", 80, "is a name"],
  ["webhook.example", 443, "is a name"],
  ["BIOS-1", 10250, "is a name"],
  ["", 443, "is a name"],
  ["10.77.0.11", 22, "port 22 of a node"],
  ["10.77.0.11", 2379, "port 2379 of a node"],
  ["10.77.0.11", 0, "no port"],
  ["10.77.0.11", 65536, "no port"],
  ["10.77.0.11", Number.NaN, "no port"],
])("%s:%s is refused: %s", (host, port, reason) => {
  expect(mayDial(policy, host, port)).toEqual({ allow: false, reason: expect.stringContaining(reason) });
});

test("what is nobody's stays so, even where a policy has it", () => {
  const foolish: EgressPolicy = {
    ...policy,
    nodes: [{ name: "n", addresses: ["127.0.0.1", "169.254.169.254", "192.168.1.10"] }],
    podCIDR: "127.0.0.0/8",
    serviceCIDR: "169.254.0.0/16",
  };
  for (const host of ["127.0.0.1", "n", "169.254.169.254", "192.168.1.10", "127.4.4.4"]) {
    expect(mayDial(foolish, host, 10250).allow).toBe(false);
  }
});

test("without SSH to a node, pods and services have no way", () => {
  const closed: EgressPolicy = { ...policy, nodes: [{ name: "bios-1", addresses: ["10.77.0.11"] }] };
  expect(mayDial(closed, "10.244.1.7", 80)).toEqual({
    allow: false,
    reason: expect.stringContaining("none of the tenant's nodes gives a way"),
  });
  expect(mayDial(closed, "10.96.0.10", 443)).toEqual({ allow: false, reason: expect.stringContaining("service's address") });
});

test("whatever is asked for, what is dialled is one of the tenant's own", () => {
  const octet = fc.nat(300).map(String);
  const host = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.tuple(octet, octet, octet, octet).map((all) => all.join(".")),
    fc.tuple(fc.constantFrom("10.244.", "10.96.", "10.77.", "::ffff:10.77."), octet, octet).map(([net, a, b]) => `${net}${a}.${b}`),
  );
  fc.assert(
    fc.property(host, fc.integer({ min: -1, max: 70_000 }), (text, port) => {
      const verdict = mayDial(policy, text, port);
      if (!verdict.allow) return;
      if (verdict.by === "direct") expect(["10.77.0.11", "10.77.0.12", "fd00:77::12"]).toContain(verdict.address);
      else expect(verdict.address).toMatch(/^10\.(244|96)\.\d+\.\d+$/);
      expect(verdict.address).not.toMatch(/^10\.244\.9\./);
    }),
    { numRuns: 5_000 },
  );
});

import { expect, test } from "vitest";
import { defaultRack } from "./config.ts";
import { conflictOf, type HostNetwork, insideCommands, outsideCommands } from "./network.ts";

const rack = defaultRack({ directory: "/tmp/r" });
const quiet: HostNetwork = {
  namespaces: ["iw-other"],
  links: [{ name: "lo" }, { name: "eth0" }],
  networks: [
    { cidr: "192.0.2.2/24", what: "an address of eth0" },
    { cidr: "10.76.0.0/16", what: "a route by wg0" },
    { cidr: "10.78.0.1/32", what: "a route by wg0" },
  ],
};

test("a host with other networks is no conflict", () => expect(conflictOf(rack, quiet)).toBeUndefined());

test.each([
  ["10.77.3.4/24", "an address inside"],
  ["10.77.254.1/32", "a host route inside"],
  ["10.0.0.0/8", "a route around"],
])("%s (%s) is", (cidr) => {
  expect(conflictOf(rack, { ...quiet, networks: [{ cidr, what: "a route by tun0" }] })).toContain(`overlaps ${cidr} (a route by tun0)`);
});

test("names that are taken are", () => {
  expect(conflictOf(rack, { ...quiet, namespaces: ["iw-rack"] })).toContain("network namespace iw-rack");
  expect(conflictOf(rack, { ...quiet, links: [{ name: "iw-rack-out", alias: "somebody's" }] })).toContain("somebody's");
});

test("outside the namespace only the one interface is touched, and names fit", () => {
  const outside = outsideCommands(rack, "mark");
  expect(outside.every((line) => line.includes("iw-rack-out"))).toBe(true);
  const names = [...outside, ...insideCommands(defaultRack({ name: "abcdefgh" }), "mark")].flatMap(
    (line) => /(?:dev|add) ([a-z][\w-]*)/.exec(line)?.[1] ?? [],
  );
  expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(15);
  expect("iw-abcdefgh-out".length).toBeLessThanOrEqual(15);
});

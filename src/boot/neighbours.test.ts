import { expect, test } from "vitest";
import type { BootInterface } from "./contract.ts";
import { tooManyNeighbours } from "./neighbours.ts";

const at = (to: string, more: Partial<BootInterface> = {}): BootInterface => ({
  name: "prov0",
  address: "10.77.0.1/16",
  pool: { from: "10.77.1.0", to },
  mode: "reservation",
  routerAdvertisements: false,
  ...more,
});

test("pools of all interfaces together are told when the kernel has no room for so many neighbours", () => {
  expect(tooManyNeighbours([at("10.77.1.255")], 1024)).toBeUndefined();
  expect(tooManyNeighbours([at("10.77.4.231")], 1024)).toBeUndefined();
  expect(tooManyNeighbours([at("10.77.4.232")], 1024)).toContain("have 1001 addresses and the kernel room for 1024 neighbours");
  expect(tooManyNeighbours([at("10.77.2.255"), at("10.77.2.255", { name: "prov1" })], 1024)).toContain("1024 addresses");
  const bmc = { pool: { from: "10.77.8.0", to: "10.77.10.255" } } as BootInterface["bmc"];
  expect(tooManyNeighbours([at("10.77.1.255", bmc ? { bmc } : {})], 1024)).toContain("1024 addresses");
});

test("networks behind relays and interfaces that are off do not count", () => {
  const subnets = [{ network: "10.78.0.0/16", pool: { from: "10.78.0.10", to: "10.78.200.0" } }];
  expect(tooManyNeighbours([at("10.77.1.255", { subnets })], 1024)).toBeUndefined();
  expect(tooManyNeighbours([at("10.77.200.0", { mode: "off" })], 1024)).toBeUndefined();
});

import { expect, test } from "vitest";
import { checked, defaultRack, serialOf, uuidOf } from "./config.ts";

test("the default rack is one BIOS and one UEFI server with two GPUs each", () => {
  const rack = defaultRack({ directory: "/tmp/r" });
  expect(
    rack.servers.map(({ name, firmware, bootMAC, bmc, gpus }) => ({ name, firmware, bootMAC, bmc: bmc.address, gpus: gpus.length })),
  ).toEqual([
    { name: "bios-1", firmware: "bios", bootMAC: "52:54:00:77:00:01", bmc: "10.77.1.11", gpus: 2 },
    { name: "uefi-1", firmware: "uefi", bootMAC: "52:54:00:77:00:02", bmc: "10.77.1.12", gpus: 2 },
  ]);
});

test("machines keep their identity, and no two have the same", () => {
  const rack = defaultRack();
  const of = (name: string) => rack.servers.map((server) => [uuidOf({ name }, server), serialOf({ name }, server)]);
  expect(of("rack")).toEqual(of("rack"));
  expect(new Set([...of("rack"), ...of("other")].flat()).size).toBe(8);
  expect(of("rack")[0]?.[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

const server = { name: "a", firmware: "bios", bootMAC: "52:54:00:00:00:01", bmc: { address: "10.77.1.11" } };

test.each([
  ["name", { name: "much-too-long-a-name", servers: [server] }],
  ["subnet", { subnet: "10.0.0.0/8", servers: [server] }],
  ["directory", { directory: "relative", servers: [server] }],
  ["directory", { directory: "/a,readonly=off", servers: [server] }],
  ["servers", { servers: [] }],
  ["servers[0].firmware", { servers: [{ ...server, firmware: "coreboot" }] }],
  ["servers[0].bootMAC", { servers: [{ ...server, bootMAC: "52-54-00-00-00-01" }] }],
  ["servers[0].name", { servers: [{ ...server, name: "../etc" }] }],
  ["servers[0].product", { servers: [{ ...server, product: "x,uuid=y" }] }],
  ["servers[0].gpus[0].id", { servers: [{ ...server, gpus: [{ id: "h100" }] }] }],
  ["servers[0].bmc.address", { servers: [{ ...server, bmc: { address: "192.168.0.1" } }] }],
  ["servers[0].bmc.address", { servers: [{ ...server, bmc: { address: "10.77.1.1" } }] }],
  ["servers[1].name", { servers: [server, { ...server, bootMAC: "52:54:00:00:00:02", bmc: { address: "10.77.1.12" } }] }],
  ["servers[0].colour", { servers: [{ ...server, colour: "red" }] }],
])("%s is refused by name", (field, document) => {
  expect(() => checked(document, "test")).toThrow(
    expect.objectContaining({ code: "IRW_CONFIG_INVALID", message: expect.stringContaining(field.replace(/\.colour$/, "")) }),
  );
});

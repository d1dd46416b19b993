import { expect, test } from "vitest";
import { checkInterfaces } from "./interfaces.ts";

const at = (address: string, mode: "reservation" | "off" = "reservation") => [{ name: "prov0", address, mode }];
const host = {
  prov0: [
    { family: "IPv4", cidr: "10.77.0.1/24" },
    { family: "IPv6", cidr: "fe80::1/64" },
  ],
  dumb0: [],
};

test.each([
  ["what the host has", at("10.77.0.1/24")],
  ["an interface that is off", at("10.9.0.1/24", "off")],
  ["one without an address yet", [{ name: "dumb0", address: "10.9.0.1/24", mode: "reservation" as const }]],
  ["one that is down", [{ name: "down0", address: "10.9.0.1/24", mode: "reservation" as const }]],
])("%s is no problem", (_, interfaces) => {
  expect(() => checkInterfaces(interfaces, host)).not.toThrow();
});

test.each(["10.77.0.1/16", "10.78.0.1/24"])("%s is refused: it would hand out another network's addresses", (address) => {
  expect(() => checkInterfaces(at(address), host)).toThrow("boot.interfaces[0].address: prov0 has 10.77.0.1/24, not");
});

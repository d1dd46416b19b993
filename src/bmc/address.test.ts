import { expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import { parseBmcAddress } from "./address.ts";

test.each([
  ["redfish://10.0.0.9", { protocol: "redfish", origin: "https://10.0.0.9" }],
  ["redfish://bmc.example:8443/", { protocol: "redfish", origin: "https://bmc.example:8443" }],
  [
    "redfish+http://10.0.0.9:8000/redfish/v1/Systems/1",
    { protocol: "redfish", origin: "http://10.0.0.9:8000", system: "/redfish/v1/Systems/1" },
  ],
  [
    "redfish://[fd00::9]/redfish/v1/Systems/Self/",
    { protocol: "redfish", origin: "https://[fd00::9]", system: "/redfish/v1/Systems/Self" },
  ],
  ["ipmi://10.0.0.9:623", { protocol: "ipmi", origin: "10.0.0.9:623" }],
])("%s", (text, expected) => expect(parseBmcAddress(text)).toEqual(expected));

test.each([
  "",
  "10.0.0.9",
  "http://10.0.0.9",
  "redfish://",
  "redfish://a b",
  "redfish://10.0.0.9/other",
  "redfish://10.0.0.9/redfish/v1/Systems/1?x=1",
])("%j is refused", (text) => expect(() => parseBmcAddress(text)).toThrow(expect.objectContaining({ code: "IRW_RESOURCE_INVALID" })));

test("credentials in an address are refused and not repeated", () => {
  try {
    parseBmcAddress("redfish://admin:hunter2@10.0.0.9");
    expect.unreachable();
  } catch (error) {
    expect(isError(error, "IRW_RESOURCE_INVALID")).toBe(true);
    expect(String(error)).not.toContain("hunter2");
  }
});

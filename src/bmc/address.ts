import { IronwrightError } from "../core/errors.ts";

/** Where a BMC is and what it speaks. */
export interface BmcAddress {
  readonly protocol: "redfish" | "ipmi";
  /** `https://10.0.0.9` or `http://10.0.0.9:8000`; for IPMI `host:port`. */
  readonly origin: string;
  /** `/redfish/v1/Systems/1` when the address names the system; the only one there is otherwise. */
  readonly system?: string;
}

const SCHEMES: Readonly<Record<string, string>> = {
  "redfish:": "https:",
  "redfish+https:": "https:",
  "redfish+http:": "http:",
  "ipmi:": "ipmi:",
};

/**
 * @param text `redfish://host[:port][/redfish/v1/Systems/id]`, `redfish+http://…`, `ipmi://host[:port]`
 * @throws IRW_RESOURCE_INVALID with what was expected; credentials in it are refused, they belong in a Secret
 */
export function parseBmcAddress(text: string): BmcAddress {
  const refuse = (problem: string) =>
    new IronwrightError("IRW_RESOURCE_INVALID", {
      resource: "spec.bmc.address",
      problems: `  ${JSON.stringify(text.replace(/\/\/[^/]*@/, "//…@"))}: ${problem}`,
    });
  const scheme = text.slice(0, text.indexOf("//"));
  const protocol = SCHEMES[scheme];
  if (!protocol) throw refuse("expected redfish://host, redfish+http://host or ipmi://host");
  let url: URL;
  try {
    // a scheme of our own is "opaque" to URL; the host is read as that of a web address
    url = new URL(`https:${text.slice(scheme.length)}`);
  } catch {
    throw refuse("not an address");
  }
  if (url.username || url.password) throw refuse("credentials belong in the Secret that credentialsSecret names");
  if (url.search || url.hash) throw refuse("nothing may follow the path");
  if (protocol === "ipmi:") return { protocol: "ipmi", origin: url.host };
  const path = url.pathname.replace(/\/+$/, "");
  if (path !== "" && !/^\/redfish\/v1\/Systems\/[^/]+$/.test(path))
    throw refuse("the path must be /redfish/v1/Systems/<id>, or be left out");
  return { protocol: "redfish", origin: `${protocol}//${url.host}`, ...(path ? { system: path } : {}) };
}

import { expect, test } from "vitest";
import type { AdmittedNode } from "./csr.ts";
import { nodeOf } from "./entrance.ts";

const KEY_FILE = "/data/gateway-keys/u";
const JOINED: AdmittedNode = { claim: "c", claimUid: "u", nodeName: "m-1", addresses: ["10.77.0.11", "10.78.0.11"] };
const ssh = { port: 22, hostKey: "ssh-ed25519 AAAA" };

test("a node that has the tenant's key is a road to what is behind it, by the key it was installed with", () => {
  expect(nodeOf({ ...JOINED, ssh, podCIDR: "10.244.3.0/24" }, KEY_FILE)).toEqual({
    name: "m-1",
    addresses: ["10.77.0.11", "10.78.0.11"],
    podCIDR: "10.244.3.0/24",
    ssh: { address: "10.77.0.11", port: 22, user: "ironwright-gateway", keyFile: KEY_FILE, hostKey: "ssh-ed25519 AAAA" },
  });
});

test.each<[string, AdmittedNode, string | undefined]>([
  ["one that joined before tenants had such keys", JOINED, KEY_FILE],
  ["one whose tenant has none yet", { ...JOINED, ssh }, undefined],
  ["one without an address", { ...JOINED, ssh, addresses: [] }, KEY_FILE],
])("%s is dialled, and nothing behind it", (_, node, keyFile) => {
  expect(nodeOf(node, keyFile)).toEqual({ name: "m-1", addresses: [...node.addresses] });
});
